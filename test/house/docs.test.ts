import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { optionsPage } from '../../scripts/options.ts'
import { root } from './source.ts'

const pages = [
  'README.md',
  'ARCHITECTURE.md',
  'STYLE.md',
  'CHANGELOG.md',
  'docs/options.md',
  'docs/bug-classes.md',
  'docs/compatibility.md',
  'docs/encryption.md',
  'docs/gossip.md',
  'docs/measurements.md',
]

describe('documents', () => {
  it('the page of options says what the table says', () => {
    assert.equal(readFileSync(join(root, 'docs/options.md'), 'utf8'), optionsPage())
  })

  it('links lead somewhere', () => {
    const lost = pages.flatMap((page) => {
      const text = readFileSync(join(root, page), 'utf8')
      return [...text.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)]
        .map((match) => match[1] as string)
        .filter((link) => !existsSync(join(root, dirname(page), link)))
        .map((link) => `${page}: ${link}`)
    })
    assert.deepEqual(lost, [])
  })

  it('files that the pages name in code exist', () => {
    const lost = pages.flatMap((page) => {
      const text = readFileSync(join(root, page), 'utf8')
      return [
        ...text.matchAll(
          /`((?:registry|registrator|distributed_app|distributed_client|scripts|compose|docs|test)\/[\w./-]+\.\w+)`/g,
        ),
      ]
        .map((match) => match[1] as string)
        .filter((path) => !existsSync(join(root, path)))
        .map((path) => `${page}: ${path}`)
    })
    assert.deepEqual(lost, [])
  })

  it('the lock file carries no download addresses', () => {
    assert.doesNotMatch(readFileSync(join(root, 'package-lock.json'), 'utf8'), /"resolved": "http/)
  })
})
