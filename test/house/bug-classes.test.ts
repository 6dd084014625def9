import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './source.ts'

const page = readFileSync(join(root, 'docs/bug-classes.md'), 'utf8')

describe('the page of bug classes', () => {
  it('names tests that there are, and files', () => {
    const lost: string[] = []
    for (const [, file = ''] of page.matchAll(/`((?:registry|test)\/[\w./-]+\.(?:ts|txt))`/g)) {
      if (!existsSync(join(root, file))) lost.push(file)
    }
    for (const [, file = '', title = ''] of page.matchAll(/`([\w./-]+\.test\.ts)` “([^”]+)”/g)) {
      const text = existsSync(join(root, file)) ? readFileSync(join(root, file), 'utf8') : ''
      // Some titles are made of parts: what stands before the first is enough.
      if (!text.includes(`('${title}'`) && !text.includes(`(\`${title}`)) lost.push(`${file}: ${title}`)
    }
    assert.deepEqual(lost, [])
  })

  it('has each of the eighteen, with a test', () => {
    const rows = [...page.matchAll(/^\| (\d+) \|.*$/gm)]
    assert.deepEqual(
      rows.map(([, number]) => Number(number)),
      Array.from({ length: 18 }, (_, at) => at + 1),
    )
    for (const [row, number] of rows) assert.match(row, /\.test\.ts` “|\/scenarios\//, `class ${number}`)
  })
})
