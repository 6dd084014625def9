import assert from 'node:assert/strict'
import { crc32 } from 'node:zlib'
import { SimulatedDisk } from '../../test/sim/disk.ts'
import { TooNew } from '../errors.ts'
import { Random } from '../io/random.ts'
import { Bookmark, bookmarkFile } from './bookmark.ts'

const at = ({ index, term }: Bookmark) => [index, term]

describe('the bookmark of the commit index', () => {
  it('is there again in the next life, and is nothing at first', async () => {
    const disk = new SimulatedDisk(new Random(1))
    const first = await Bookmark.open(disk.open())
    assert.deepEqual([...at(first), first.damaged], [0, 0, false])
    for (const index of [5, 9, 12]) await first.keep(index, 2)
    assert.deepEqual(at(await Bookmark.open(disk.open())), [12, 2])
  })

  it('with any bit flipped is the one before or none, never another', async () => {
    const disk = new SimulatedDisk(new Random(1))
    const first = await Bookmark.open(disk.open())
    await first.keep(5, 1)
    await first.keep(9, 2)
    const whole = Uint8Array.from(disk.peek(bookmarkFile)!)
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const damaged = Uint8Array.from(whole)
      damaged[bit >> 3]! ^= 1 << (bit & 7)
      disk.poke(bookmarkFile, damaged)
      const { index, term } = await Bookmark.open(disk.open())
      assert.ok((index === 9 && term === 2) || (index === 5 && term === 1), `bit ${bit}: ${index} of ${term}`)
    }
    disk.poke(bookmarkFile, new Uint8Array(100).fill(7))
    const none = await Bookmark.open(disk.open())
    assert.deepEqual([...at(none), none.damaged], [0, 0, true])
    await none.keep(20, 3)
    assert.deepEqual(at(await Bookmark.open(disk.open())), [20, 3])
  })

  it('cut off anywhere is the one before or none', async () => {
    const disk = new SimulatedDisk(new Random(1))
    const first = await Bookmark.open(disk.open())
    await first.keep(5, 1)
    await first.keep(9, 2)
    const whole = Uint8Array.from(disk.peek(bookmarkFile)!)
    for (let length = 0; length < whole.length; length += 7) {
      disk.poke(bookmarkFile, whole.subarray(0, length))
      assert.ok([0, 5, 9].includes((await Bookmark.open(disk.open())).index), `${length} bytes`)
    }
  })

  it('survives a crash at any moment: what was kept before is there, or what was being kept', async () => {
    for (let seed = 1; seed <= 300; seed++) {
      const random = new Random(seed)
      const disk = new SimulatedDisk(new Random(seed))
      let bookmark = await Bookmark.open(disk.open())
      let kept = 0
      let next = 0
      for (let life = 0; life < 4; life++) {
        for (let times = random.between(0, 3); times > 0; times--) {
          await bookmark.keep(++next, 1)
          kept = next
        }
        if (random.chance(0.7)) {
          bookmark.keep(++next, 1).catch(() => {})
          for (let turns = random.between(0, 6); turns > 0; turns--) await Promise.resolve()
          disk.crash()
        } else disk.crash()
        bookmark = await Bookmark.open(disk.open())
        assert.ok(bookmark.index >= kept && bookmark.index <= next, `seed ${seed}: ${bookmark.index}, kept ${kept}`)
        kept = bookmark.index
      }
    }
  })

  it('of a newer version is left as it is', async () => {
    const disk = new SimulatedDisk(new Random(1))
    await (await Bookmark.open(disk.open())).keep(5, 1)
    const bytes = Buffer.from(disk.peek(bookmarkFile)!)
    const slot = bytes.subarray(4096)
    slot.write('7', 6, 'latin1')
    slot.writeUInt32BE(crc32(slot.subarray(0, 26)), 26)
    disk.poke(bookmarkFile, bytes)
    await assert.rejects(Bookmark.open(disk.open()), TooNew)
  })
})
