/**
 * What encryption of gossip costs a packet: `node scripts/sealing.ts`. Processor time, so that a busy machine does not
 * change much; each row is the median of rounds that take turns.
 */
import { randomBytes, randomFillSync } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { Keyring } from '../registry/src/agent/keyring.ts'
import { aesGcm } from '../registry/src/io/node-cipher.ts'

const rounds = 15
const packets = 5_000
const cipher = aesGcm((bytes) => randomFillSync(bytes))
const context = Buffer.from('gossip')
const key = (length: number) => randomBytes(length).toString('base64')
const sixteen = new Keyring([key(16)])
const thirtyTwo = new Keyring([key(32)])
const three = new Keyring([key(32), key(32), key(32)])

interface Row {
  what: string
  run: () => unknown
  micros: number[]
}

function rowsOf(length: number): Row[] {
  const plain = randomBytes(length)
  const sealed = thirtyTwo.seal(cipher, plain, context)
  const row = (what: string, run: () => unknown): Row => ({ what: `${what}, ${length} bytes`, run, micros: [] })
  return [
    row('seal, key of 16 bytes', () => sixteen.seal(cipher, plain, context)),
    row('seal, key of 32 bytes', () => thirtyTwo.seal(cipher, plain, context)),
    row('open, key of 32 bytes', () => thirtyTwo.open(cipher, sealed, context, 0)),
    row('refuse, with three keys', () => three.open(cipher, sealed, context, 0)),
    row('for comparison: checksum of the packet', () => crc32(plain)),
  ]
}

const rows = [100, 1_300].flatMap(rowsOf)
for (let round = 0; round <= rounds; round++) {
  for (const { run, micros } of rows) {
    const before = process.cpuUsage()
    for (let packet = 0; packet < packets; packet++) run()
    const { user, system } = process.cpuUsage(before)
    // The first round is for the compiler.
    if (round > 0) micros.push((user + system) / packets)
  }
}
console.log('| | µs of processor time a packet |\n|---|---|')
for (const { what, micros } of rows) {
  micros.sort((one, other) => one - other)
  console.log(`| ${what} | ${micros[rounds >> 1]?.toFixed(1)} |`)
}
