/** `FUZZ=n` gives so many inputs, and prints what memory they take. */
import assert from 'node:assert/strict'
import { env, memoryUsage } from 'node:process'
import { Fuzz, fuzzGossip } from '../../test/gossip/fuzz.ts'
import { decodePacket, Malformed } from './message.ts'

const inputs = Number(env.FUZZ ?? 30_000)

describe('fuzzed gossip', () => {
  it('whatever a process receives, it lives, and its table and datagrams keep their bounds', () => {
    let settled = 0
    const onSome = (done: number) => {
      const resident = Math.round(memoryUsage.rss() / 2 ** 20)
      if (done * 2 >= inputs && settled === 0) settled = resident
      if (done % 1_000_000 === 0) console.log(`      ${done} inputs, ${resident} MiB resident`)
    }
    const { members, sent, warnings } = fuzzGossip(Number(env.SEED ?? 1), inputs, onSome)
    assert.ok(members <= 200, `${members}`)
    // It took part in what was said to it.
    assert.ok(members > 20 && sent > inputs / 100 && warnings > 0, `${members} ${sent} ${warnings}`)
    if (inputs >= 1_000_000) {
      const resident = Math.round(memoryUsage.rss() / 2 ** 20)
      console.log(`      ${inputs} inputs, ${members} members, ${sent} packets sent, ${warnings} warnings`)
      assert.ok(resident < settled + 50, `${settled} MiB after half of the inputs, ${resident} MiB now`)
    }
  })

  it('a packet is understood as a whole or refused, with the reason, and understood the same once more', () => {
    const fuzz = new Fuzz(2)
    let understood = 0
    for (let one = 0; one < Math.min(inputs, 1_000_000); one++) {
      const bytes = fuzz.next()
      let first: unknown
      try {
        first = decodePacket(bytes)
      } catch (error) {
        assert.ok(error instanceof Malformed && error.message.length < 200, `${error}`)
        continue
      }
      understood++
      if (one % 10 === 0) assert.deepEqual(decodePacket(bytes.slice()), first)
    }
    assert.ok(understood > inputs / 50, `${understood}`)
  })
})
