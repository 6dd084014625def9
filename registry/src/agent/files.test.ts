import assert from 'node:assert/strict'
import { Corrupt } from '../errors.ts'
import type { Disk } from '../io/io.ts'
import { loadJson, saveJson } from './files.ts'

function memory() {
  const files = new Map<string, Uint8Array>()
  const disk: Partial<Disk> = {
    read: async (file) => files.get(file),
    write: async (file, _at, [bytes]) => {
      files.set(file, bytes as Uint8Array)
    },
    sync: async () => {},
    syncFolder: async () => {},
    remove: async (file) => {
      files.delete(file)
    },
    rename: async (from, to) => {
      files.set(to, files.get(from) as Uint8Array)
      files.delete(from)
    },
  }
  return { files, disk: disk as Disk }
}

const document = { id: 'web1', port: 80, tags: ['a', 'ü'], meta: { weights: 1.5 }, none: null, on: true }

describe('a document in the data directory', () => {
  it('is there again as it was', async () => {
    const { disk } = memory()
    await saveJson(disk, 'a.json', document)
    assert.deepEqual(await loadJson(disk, 'a.json'), document)
    assert.equal(await loadJson(disk, 'b.json'), undefined)
  })

  it('with any bit flipped is refused, or says the same', async () => {
    const { disk, files } = memory()
    await saveJson(disk, 'a.json', document)
    const whole = files.get('a.json') as Uint8Array
    let refused = 0
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const damaged = Uint8Array.from(whole)
      damaged[bit >> 3]! ^= 1 << (bit & 7)
      files.set('a.json', damaged)
      try {
        assert.deepEqual(await loadJson(disk, 'a.json'), document, `bit ${bit}`)
      } catch (error) {
        assert.ok(error instanceof Corrupt && error.message.startsWith('a.json in the data directory'), String(error))
        refused++
      }
    }
    assert.ok(refused > whole.length * 6, `${refused} of ${whole.length * 8}`)
  })

  it('cut off anywhere is refused', async () => {
    const { disk, files } = memory()
    await saveJson(disk, 'a.json', document)
    const whole = files.get('a.json') as Uint8Array
    // What ends with the last brace has everything.
    for (let length = 0; length < whole.length - 1; length++) {
      files.set('a.json', whole.subarray(0, length))
      await assert.rejects(loadJson(disk, 'a.json'), Corrupt, `${length} bytes`)
    }
  })

  it('that somebody changed is refused with what to do, and taken without its checksum', async () => {
    const { disk, files } = memory()
    await saveJson(disk, 'a.json', document)
    const text = new TextDecoder().decode(files.get('a.json')).replace('80', '81')
    files.set('a.json', new TextEncoder().encode(text))
    await assert.rejects(loadJson(disk, 'a.json'), /a\.json .*fails its checksum.*changed it on purpose.*"document"/)
    const { document: changed } = JSON.parse(text) as Record<string, unknown>
    files.set('a.json', new TextEncoder().encode(JSON.stringify(changed)))
    assert.deepEqual(await loadJson(disk, 'a.json'), { ...document, port: 81 })
  })
})
