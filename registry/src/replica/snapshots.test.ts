import assert from 'node:assert/strict'
import { SimulatedDisk } from '../../test/sim/disk.ts'
import { Corrupt } from '../errors.ts'
import { Random } from '../io/random.ts'
import type { SnapshotMark } from '../raft/message.ts'
import { Snapshots } from './snapshots.ts'

const folder = 'raft/snapshots'
const mark = (index: number, term = 1): SnapshotMark => ({
  index,
  term,
  configuration: { cluster: 'c', servers: [{ id: 'a', address: '10.0.0.1:8300', voter: true }] },
  configurationIndex: 1,
})
const chunks = (...texts: string[]) => texts.map((text) => Uint8Array.from(Buffer.from(text)))
const texts = (all: Iterable<Uint8Array>) => [...all].map((chunk) => Buffer.from(chunk).toString('utf8'))

describe('snapshots', () => {
  it('give back mark and chunks, also to the next life', async () => {
    const disk = new SimulatedDisk(new Random(1))
    const snapshots = await Snapshots.open(disk.open(), folder)
    await snapshots.write(mark(7), chunks('one', '', 'x'.repeat(700_000), 'three'))
    disk.crash()
    const again = await Snapshots.open(disk.open(), folder)
    assert.deepEqual(again.newest?.mark, mark(7))
    assert.deepEqual(texts(await again.chunks(again.newest!)), ['one', 'x'.repeat(700_000), 'three'])
    assert.equal(again.newest.size, disk.peek(again.newest.file)?.length)
  })

  it('keep the newest two, and those that are being sent', async () => {
    const disk = new SimulatedDisk(new Random(1))
    const snapshots = await Snapshots.open(disk.open(), folder)
    const first = await snapshots.write(mark(1), chunks('1'))
    for (const index of [2, 3, 4]) await snapshots.write(mark(index), chunks(String(index)))
    await snapshots.prune([first.file])
    assert.deepEqual(
      disk.files().map((file) => Number(file.split('/').at(-1)?.split('-')[0])),
      [1, 3, 4],
    )
    await snapshots.prune()
    assert.deepEqual([snapshots.newest?.mark.index, snapshots.heldTwice], [4, 3])
  })

  it('are never found half written, whenever the power fails', async () => {
    for (let seed = 1; seed <= 150; seed++) {
      const random = new Random(seed)
      const disk = new SimulatedDisk(random)
      await (await Snapshots.open(disk.open(), folder)).write(mark(1), chunks('old'))
      let steps = random.between(1, 8)
      let died: () => void = () => {}
      const death = new Promise<void>((resolve) => {
        died = resolve
      })
      const dying = disk.open(async () => {
        if (--steps > 0) return
        disk.crash()
        died()
      })
      const writing = Snapshots.open(dying, folder).then((snapshots) =>
        snapshots.write(mark(2), chunks('new', 'y'.repeat(2000))),
      )
      await Promise.race([writing, death])
      if (steps > 0) disk.crash()
      const again = await Snapshots.open(disk.open(), folder)
      assert.deepEqual(again.damaged, [])
      const held = texts(await again.chunks(again.newest!))
      assert.deepEqual(held, again.newest!.mark.index === 2 ? ['new', 'y'.repeat(2000)] : ['old'], `seed ${seed}`)
      if (steps > 0) assert.equal(again.newest!.mark.index, 2, `seed ${seed}: what was acknowledged is there`)
      assert.ok(!disk.files().some((file) => file.endsWith('.part')))
    }
  })

  it('are refused with file and offset when any byte of them is wrong or missing', async () => {
    const disk = new SimulatedDisk(new Random(1))
    const snapshots = await Snapshots.open(disk.open(), folder)
    const { file } = await snapshots.write(mark(9), chunks('alpha', 'beta'))
    const whole = disk.peek(file)!
    for (let at = 0; at < whole.length; at++) {
      const flipped = Buffer.from(whole)
      flipped[at]! ^= 1
      for (const bytes of [flipped, whole.subarray(0, at)]) {
        disk.poke(file, bytes)
        const opened = await Snapshots.open(disk.open(), folder)
        assert.equal(opened.newest, undefined, `byte ${at}`)
        assert.equal(opened.damaged[0]?.file, file)
        assert.match(opened.damaged[0]!.reason, /^raft\/snapshots\/.*offset \d+/)
      }
    }
    disk.poke(file, whole)
    const opened = await Snapshots.open(disk.open(), folder)
    disk.poke(file, whole.subarray(1))
    await assert.rejects(opened.chunks(opened.newest!), Corrupt)
  })

  it('are taken over from bytes that came from elsewhere only when these verify', async () => {
    const [there, here] = [new SimulatedDisk(new Random(1)), new SimulatedDisk(new Random(2))]
    const theirs = await Snapshots.open(there.open(), folder)
    const file = await theirs.write(mark(5), chunks('state'))
    const bytes = (await theirs.bytes(file, 0, file.size))!
    const disk = here.open()
    const mine = await Snapshots.open(disk, folder)
    const part = mine.temporaryFile()
    await disk.write(part, 0, [bytes.subarray(0, bytes.length - 1)])
    await assert.rejects(mine.adopt(part), Corrupt)
    await disk.write(part, 0, [bytes])
    await mine.adopt(part)
    here.crash()
    const again = await Snapshots.open(here.open(), folder)
    assert.deepEqual(texts(await again.chunks(again.newest!)), ['state'])
  })
})
