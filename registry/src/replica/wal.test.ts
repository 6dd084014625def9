import assert from 'node:assert/strict'
import { crc32 } from 'node:zlib'
import { SimulatedDisk } from '../../test/sim/disk.ts'
import { Corrupt, TooNew } from '../errors.ts'
import { Random } from '../io/random.ts'
import type { Entry, HardState } from '../raft/message.ts'
import { commitFrameLength, encodeBatch, segmentHeaderLength, type WalRecord } from './records.ts'
import { type Recovered, Wal, type WalOptions } from './wal.ts'

const folder = 'raft/wal'
const first = `${folder}/0000000001.wal`
const small: WalOptions = { segmentBytes: 64 * 1024, zeroBytes: 1024 }

const entry = (index: number, term: number, text = `value ${index}`): Entry => ({
  index,
  term,
  kind: 'command',
  data: Uint8Array.from(Buffer.from(text)),
})
const entryRecord = (index: number, term: number, text?: string): WalRecord => ({
  type: 'entry',
  entry: entry(index, term, text),
})
const state = (term: number, vote = ''): WalRecord => ({ type: 'hardState', hardState: { term, vote } })
const open = (disk: SimulatedDisk, options: Partial<WalOptions> = small) =>
  Wal.open(disk.open(), folder, new Random(7), options)

/** A log of three batches, and the place where the third begins. */
async function threeBatches() {
  const disk = new SimulatedDisk(new Random(1))
  const { wal } = await open(disk)
  await wal.save([state(1, 'a'), entryRecord(1, 1), entryRecord(2, 1)])
  await wal.save([entryRecord(3, 1)])
  const last: WalRecord[] = [state(2, 'b'), entryRecord(4, 2), entryRecord(5, 2)]
  await wal.save(last)
  const bytes = disk.peek(first)!
  const lastLength = encodeBatch(new Uint8Array(8), 3, last).length
  const end = lastNonZero(bytes)
  return { bytes, start: end - lastLength, end }
}

/** Whether it waits for a disk that has died: all there is to do in memory is done after a turn of the loop. */
async function neverEnds(save: Promise<void>): Promise<boolean> {
  let ended = false
  save.then(() => {
    ended = true
  })
  await new Promise((resolve) => setImmediate(resolve))
  return !ended
}

function lastNonZero(bytes: Buffer): number {
  let end = bytes.length
  while (end > 0 && bytes[end - 1] === 0) end--
  return end
}

async function recoverFrom(bytes: Uint8Array, name = first) {
  const disk = new SimulatedDisk(new Random(2))
  disk.poke(name, bytes)
  return { disk, ...(await open(disk)) }
}

const beforeLast: { hardState: HardState; entries: Entry[] } = {
  hardState: { term: 1, vote: 'a' },
  entries: [entry(1, 1), entry(2, 1), entry(3, 1)],
}
const afterLast = { hardState: { term: 2, vote: 'b' }, entries: [...beforeLast.entries, entry(4, 2), entry(5, 2)] }
const said = ({ hardState, entries }: Recovered) => ({ hardState, entries })

describe('the write-ahead log', () => {
  it('gives back what was saved', async () => {
    const { bytes } = await threeBatches()
    const { recovered } = await recoverFrom(bytes)
    assert.deepEqual(said(recovered), afterLast)
    assert.equal(recovered.tornBytes, 0)
  })

  it('is empty at first, and goes on where it ended', async () => {
    const disk = new SimulatedDisk(new Random(1))
    const opened = await open(disk)
    assert.deepEqual(said(opened.recovered), { hardState: undefined, entries: [] })
    await opened.wal.save([entryRecord(1, 1)])
    const again = await open(disk)
    await again.wal.save([entryRecord(2, 1)])
    await again.wal.save([state(3)])
    const { recovered } = await open(disk)
    assert.deepEqual(said(recovered), { hardState: { term: 3, vote: '' }, entries: [entry(1, 1), entry(2, 1)] })
  })

  it('makes a batch durable with one sync', async () => {
    const disk = new SimulatedDisk(new Random(1))
    const { wal } = await open(disk)
    await wal.save([entryRecord(1, 1)])
    const before = wal.syncs
    await wal.save(Array.from({ length: 100 }, (_, at) => entryRecord(at + 2, 1)))
    assert.equal(wal.syncs, before + 1)
    disk.crash()
    assert.equal((await open(disk)).recovered.entries.length, 101)
  })

  it('cuts off a last batch torn at any byte, whatever stands behind the tear', async () => {
    const { bytes, start, end } = await threeBatches()
    const random = new Random(3)
    for (let cut = start; cut < end; cut++) {
      const zeroed = Buffer.from(bytes).fill(0, cut)
      const truncated = bytes.subarray(0, cut)
      const garbage = Buffer.from(bytes)
      for (let at = cut; at < end; at++) garbage[at] = random.word() & 0xff
      for (const [what, torn] of Object.entries({ zeroed, truncated, garbage })) {
        if (torn.equals(bytes)) continue
        const { recovered, disk, wal } = await recoverFrom(torn)
        assert.deepEqual(said(recovered), beforeLast, `${what} at ${cut}`)
        assert.equal(lastNonZero(disk.peek(first)!) <= start, true, `wiped: ${what} at ${cut}`)
        // And the place is good for another batch.
        await wal.save([entryRecord(4, 3, 'other')])
        assert.deepEqual((await open(disk)).recovered.entries.at(-1), entry(4, 3, 'other'))
      }
    }
  })

  it('cuts off a last batch whose sectors reached the disk in any order', async () => {
    const random = new Random(5)
    for (let run = 0; run < 300; run++) {
      const disk = new SimulatedDisk(random)
      const { wal } = await open(disk)
      await wal.save([state(1), entryRecord(1, 1)])
      void wal.save([
        entryRecord(2, 1, 'x'.repeat(random.between(0, 3000))),
        entryRecord(3, 1, 'y'.repeat(random.between(0, 3000))),
      ])
      disk.crash()
      const { recovered } = await open(disk)
      assert.ok(recovered.entries.length === 1 || recovered.entries.length === 3, `run ${run}`)
      assert.deepEqual(recovered.entries[0], entry(1, 1))
    }
  })

  it('never takes a flipped bit before the last batch for anything but damage', async () => {
    const { bytes, start } = await threeBatches()
    let refused = 0
    for (let at = 0; at < start; at++) {
      for (const bit of [0, 7]) {
        const damaged = Buffer.from(bytes)
        damaged[at]! ^= 1 << bit
        try {
          const { recovered } = await recoverFrom(damaged)
          assert.deepEqual(said(recovered), afterLast, `bit ${bit} of byte ${at}`)
        } catch (error) {
          assert.ok(error instanceof Corrupt, `bit ${bit} of byte ${at}: ${error}`)
          assert.match(error.message, /^raft\/wal\/0000000001\.wal: .*offset \d+/)
          refused++
        }
      }
    }
    assert.equal(refused, start * 2)
  })

  it('changes nothing on the disk before it was agreed that this can be all of the log', async () => {
    const { bytes, end } = await threeBatches()
    const torn = Buffer.from(bytes)
    torn[end - 10]! ^= 1
    const disk = new SimulatedDisk(new Random(2))
    disk.poke(first, torn)
    const expect = (entries: readonly Entry[]) => {
      if (entries.length < 5) throw new Corrupt(`there were 5, not ${entries.length}`)
    }
    await assert.rejects(Wal.open(disk.open(), folder, new Random(7), { ...small, expect }), /5, not 3/)
    assert.deepEqual(disk.peek(first), torn)
    assert.deepEqual(said((await open(disk)).recovered), beforeLast)
    assert.notDeepEqual(disk.peek(first), torn)
  })

  it('finds damage in the last batch too after a clean stop', async () => {
    const disk = new SimulatedDisk(new Random(1))
    const { wal } = await open(disk)
    await wal.save([state(1), entryRecord(1, 1)])
    const end = lastNonZero(disk.peek(first)!)
    await wal.close()
    const bytes = disk.peek(first)!
    for (let at = segmentHeaderLength; at < end; at++) {
      const damaged = Buffer.from(bytes)
      damaged[at]! ^= 4
      await assert.rejects(recoverFrom(damaged), Corrupt)
    }
    assert.equal((await recoverFrom(bytes)).recovered.entries.length, 1)
  })

  it('is not deceived by remains of an older life of the disk', async () => {
    // Another log's whole batches, with the right numbers, lie where this log will be torn.
    const other = await threeBatches()
    const disk = new SimulatedDisk(new Random(1))
    const { wal } = await Wal.open(disk.open(), folder, new Random(99), small)
    await wal.save([state(1, 'a'), entryRecord(1, 1), entryRecord(2, 1)])
    const mine = disk.peek(first)!
    const end = lastNonZero(mine)
    const bytes = Buffer.concat([mine.subarray(0, end), other.bytes.subarray(end)])
    const { recovered } = await recoverFrom(bytes)
    assert.deepEqual(recovered.entries, [entry(1, 1), entry(2, 1)])
    assert.ok(recovered.tornBytes > 0)
  })

  it('lets an entry supersede what stood at its index and after it', async () => {
    const disk = new SimulatedDisk(new Random(1))
    const { wal } = await open(disk)
    await wal.save([1, 2, 3, 4].map((index) => entryRecord(index, 1)))
    await wal.save([entryRecord(3, 2, 'new')])
    assert.deepEqual((await open(disk)).recovered.entries, [entry(1, 1), entry(2, 1), entry(3, 2, 'new')])
  })

  it('begins anew behind a snapshot', async () => {
    const disk = new SimulatedDisk(new Random(1))
    const { wal } = await open(disk)
    await wal.save([1, 2, 3].map((index) => entryRecord(index, 1)))
    await wal.save([{ type: 'restart', index: 100, term: 4 }])
    assert.deepEqual((await open(disk)).recovered.entries, [])
    await wal.save([entryRecord(101, 4)])
    assert.deepEqual((await open(disk)).recovered.entries, [entry(101, 4)])
  })

  it('goes over to new segments and removes whole ones, keeping the hard state and what is needed', async () => {
    const disk = new SimulatedDisk(new Random(1))
    const { wal } = await open(disk, { segmentBytes: 1000, zeroBytes: 100 })
    await wal.save([state(5, 'me')])
    for (let index = 1; index <= 100; index++) await wal.save([entryRecord(index, 5)])
    assert.ok(wal.segments > 5)
    await wal.compact(60)
    const { recovered } = await open(disk)
    assert.deepEqual(recovered.hardState, { term: 5, vote: 'me' })
    assert.ok(recovered.entries[0]!.index <= 60 && recovered.entries[0]!.index > 50)
    assert.equal(recovered.entries.at(-1)!.index, 100)
    await wal.compact(1000)
    assert.equal(wal.segments, 1)
    assert.deepEqual((await open(disk)).recovered.hardState, { term: 5, vote: 'me' })
  })

  it('keeps the hard state when a crash comes between the begin of a segment and its first batch', async () => {
    const disk = new SimulatedDisk(new Random(1))
    const options = { segmentBytes: 400, zeroBytes: 0 }
    const { wal } = await open(disk, options)
    await wal.save([state(5, 'me')])
    let begun = false
    const dying = disk.open(async (operation) => {
      // The header and its file's name are there; the process dies before the batch.
      if (operation === 'syncFolder' && begun) disk.crash(true)
    })
    const { wal: last } = await Wal.open(dying, folder, new Random(7), options)
    begun = true
    for (let index = 1, stopped = false; !stopped; index++) {
      stopped = await neverEnds(last.save([entryRecord(index, 5)]))
    }
    const { wal: next } = await open(disk, options)
    assert.equal(next.segments, 2)
    await next.save([entryRecord(1, 5)])
    await next.compact(1000)
    assert.equal(next.segments, 1)
    assert.deepEqual((await open(disk)).recovered.hardState, { term: 5, vote: 'me' })
  })

  it('keeps a segment as long as one of its entries stands', async () => {
    const disk = new SimulatedDisk(new Random(1))
    const { wal } = await open(disk, { segmentBytes: 200, zeroBytes: 10 })
    for (let index = 1; index <= 20; index++) await wal.save([entryRecord(index, 1)])
    for (let index = 8; index <= 12; index++) await wal.save([entryRecord(index, 2)])
    await wal.compact(7)
    const { recovered } = await open(disk)
    assert.ok(recovered.entries[0]!.index <= 7)
    assert.deepEqual(
      recovered.entries.slice(-6).map(({ index, term }) => `${index}:${term}`),
      ['7:1', '8:2', '9:2', '10:2', '11:2', '12:2'],
    )
  })

  it('goes on without damaged segments when what they held is covered, and only then', async () => {
    const disk = new SimulatedDisk(new Random(1))
    const { wal } = await open(disk, { segmentBytes: 300, zeroBytes: 10 })
    await wal.save([state(3, 'me')])
    for (let index = 1; index <= 40; index++) await wal.save([entryRecord(index, 3, `<${index}>`)])
    const files = disk.files()
    const { recovered } = await open(disk)
    for (const [at, file] of files.slice(0, -1).entries()) {
      const whole = disk.peek(file)!
      const damaged = Buffer.from(whole)
      // In the first batch: what follows in this segment cannot count any more.
      damaged[segmentHeaderLength + 8]! ^= 1
      const next = disk.peek(files[at + 1] ?? '')
      const continues = recovered.entries.find(({ data }) => next?.includes(Buffer.from(data)))?.index
      for (let covered = 0; covered <= 40; covered++) {
        disk.poke(file, damaged)
        const opening = Wal.open(disk.open(), folder, new Random(7), { ...small, covered })
        assert.ok(continues !== undefined)
        if (covered < continues - 1) {
          await assert.rejects(opening, Corrupt, `${file} covered to ${covered}`)
        } else {
          const { recovered: rest } = await opening
          assert.deepEqual(rest.entries, recovered.entries.slice(continues - 1), `${file} covered to ${covered}`)
          assert.deepEqual(rest.hardState, { term: 3, vote: 'me' })
          assert.deepEqual(rest.damage?.superfluous, files.slice(0, at + 1))
          assert.ok(rest.damage?.reason.startsWith(`${file}: `))
        }
      }
      disk.poke(file, whole)
    }
  })

  it('does not take a place for whole from which on no entry stands', async () => {
    const disk = new SimulatedDisk(new Random(1))
    const { wal } = await open(disk, { segmentBytes: 200, zeroBytes: 10 })
    for (let index = 1; index <= 12; index++) await wal.save([entryRecord(index, 1)])
    // The last segment has the hard state only: entries before it may be beyond what a snapshot covers.
    for (let term = 2; term <= 12; term++) await wal.save([state(term)])
    const damaged = disk.peek(first)!
    damaged[segmentHeaderLength + 8]! ^= 1
    disk.poke(first, damaged)
    const last = disk.files().at(-1)!
    for (const file of disk.files()) if (file !== first && file !== last) await disk.open().remove(file)
    await assert.rejects(Wal.open(disk.open(), folder, new Random(7), { ...small, covered: 8 }), Corrupt)
  })

  it('leaves a segment of a newer format as it is, and says so', async () => {
    const { bytes } = await threeBatches()
    for (const whole of [bytes, bytes.subarray(0, segmentHeaderLength)]) {
      const newer = Buffer.from(whole)
      newer[5] = '2'.charCodeAt(0)
      newer.writeUInt32BE(crc32(newer.subarray(0, segmentHeaderLength - 4)), segmentHeaderLength - 4)
      const disk = new SimulatedDisk(new Random(2))
      disk.poke(first, newer)
      await assert.rejects(open(disk), (error) => {
        assert.ok(error instanceof TooNew, String(error))
        assert.match(
          error.message,
          /^raft\/wal\/0000000001\.wal has format 2, .* understands format 1: a newer version/,
        )
        return true
      })
      assert.deepEqual(disk.peek(first), newer)
    }
  })

  it('refuses a log that lacks a segment, or whose older segment lost its end', async () => {
    const disk = new SimulatedDisk(new Random(1))
    const { wal } = await open(disk, { segmentBytes: 300, zeroBytes: 10 })
    for (let index = 1; index <= 20; index++) await wal.save([entryRecord(index, 1)])
    const files = disk.files()
    const bytes = disk.peek(files[1]!)!
    await disk.open().remove(files[1]!)
    await assert.rejects(open(disk), Corrupt)
    disk.poke(files[1]!, bytes.subarray(0, bytes.length - commitFrameLength - 20))
    await assert.rejects(open(disk), Corrupt)
    disk.poke(files[1]!, bytes)
    assert.equal((await open(disk)).recovered.entries.length, 20)
    disk.poke(files.at(-1)!, Buffer.concat([Buffer.from('x'), disk.peek(files.at(-1)!)!]))
    await assert.rejects(open(disk), Corrupt)
  })

  it('survives a crash at any moment of its life, without losing what was acknowledged', async () => {
    for (let seed = 1; seed <= 200; seed++) {
      const random = new Random(seed)
      const disk = new SimulatedDisk(random)
      let acknowledged: Entry[] = []
      for (let life = 0; life < 4; life++) {
        let steps = random.between(1, 60)
        let died: () => void = () => {}
        const death = new Promise<'died'>((resolve) => {
          died = () => resolve('died')
        })
        const turn = async () => {
          if (--steps === 0) {
            disk.crash(random.chance(0.2))
            died()
          }
        }
        let attempted: Entry[] = []
        const run = async () => {
          const { wal, recovered } = await Wal.open(disk.open(turn), folder, random, {
            segmentBytes: 400,
            zeroBytes: 64,
          })
          const standing = recovered.entries
          const from =
            acknowledged.length === 0 ? 0 : standing.findIndex(({ index }) => index === acknowledged[0]!.index)
          assert.deepEqual(standing.slice(from, from + acknowledged.length), acknowledged, `seed ${seed} life ${life}`)
          acknowledged = standing
          for (;;) {
            const last = acknowledged.at(-1)?.index ?? 0
            const next = random.chance(0.1) ? Math.max(acknowledged[0]?.index ?? 1, last - 2) : last + 1
            attempted = Array.from({ length: random.between(1, 3) }, (_, at) =>
              entry(next + at, life + 1, `s${random.word()}`),
            )
            const kept = acknowledged.filter(({ index }) => index < next)
            // Until the save returns, either may be found: only what both have in common is certain.
            acknowledged = kept
            await wal.save(attempted.map((one) => ({ type: 'entry', entry: one })))
            acknowledged = [...kept, ...attempted]
            if (random.chance(0.1)) {
              const keepFrom = next - 3
              acknowledged = acknowledged.filter(({ index }) => index >= keepFrom)
              await wal.compact(keepFrom)
            }
          }
        }
        assert.equal(await Promise.race([run(), death]), 'died')
      }
    }
  })

  it('does not go on from a batch that a failed sync left in the page cache only', async () => {
    const disk = new SimulatedDisk(new Random(1))
    let failing = false
    const { wal } = await Wal.open(
      disk.open(async (operation) => {
        if (failing && operation === 'sync') throw Object.assign(new Error('EIO'), { code: 'EIO' })
      }),
      folder,
      new Random(1),
      small,
    )
    await wal.save([entryRecord(1, 1)])
    failing = true
    await assert.rejects(wal.save([entryRecord(2, 1)]))
    disk.crash(true)
    const again = await open(disk)
    assert.equal(again.recovered.entries.length, 2)
    await again.wal.save([entryRecord(3, 1)])
    disk.crash()
    assert.equal((await open(disk)).recovered.entries.length, 3)
  })

  it('refuses everything after a failed write or sync', async () => {
    const disk = new SimulatedDisk(new Random(1))
    let failing = false
    const { wal } = await Wal.open(
      disk.open(async (operation) => {
        if (failing && operation === 'sync')
          throw Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' })
      }),
      folder,
      new Random(1),
      small,
    )
    await wal.save([entryRecord(1, 1)])
    failing = true
    await assert.rejects(wal.save([entryRecord(2, 1)]), { code: 'EIO' })
    failing = false
    await assert.rejects(wal.save([entryRecord(2, 1)]), { code: 'EIO' })
    await wal.close()
  })
})
