import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './source.ts'

const page = readFileSync(join(root, 'docs/bug-classes.md'), 'utf8')
const promises = readFileSync(join(root, 'docs/gossip.md'), 'utf8')

/** Of files and tests that a page names, those that are not there. */
function lostIn(text: string): string[] {
  const lost: string[] = []
  for (const [, file = ''] of text.matchAll(/`((?:registry|test)\/[\w./-]+\.(?:ts|txt))`/g)) {
    if (!existsSync(join(root, file))) lost.push(file)
  }
  for (const [, file = '', title = ''] of text.matchAll(/`([\w./-]+\.test\.ts)` “([^”]+)”/g)) {
    const code = existsSync(join(root, file)) ? readFileSync(join(root, file), 'utf8') : ''
    // Some titles are made of parts: what stands before the first is enough.
    if (!code.includes(`('${title}'`) && !code.includes(`(\`${title}`)) lost.push(`${file}: ${title}`)
  }
  return lost
}

describe('the page of gossip', () => {
  it('names tests that there are, and files', () => {
    assert.deepEqual(lostIn(promises), [])
  })
})

describe('the page of bug classes', () => {
  it('names tests that there are, and files', () => {
    assert.deepEqual(lostIn(page), [])
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
