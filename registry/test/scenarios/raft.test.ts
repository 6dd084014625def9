import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { play } from './scenario.ts'

const folder = join(import.meta.dirname, 'raft')

describe('Raft scenarios', () => {
  for (const name of readdirSync(folder)) {
    it(name.replace('.txt', '').replaceAll('-', ' '), () => {
      const file = join(folder, name)
      const text = readFileSync(file, 'utf8')
      const played = play(text)
      if (process.env.REWRITE !== undefined) writeFileSync(file, played)
      else assert.equal(played, text)
    })
  }
})
