import assert from 'node:assert/strict'
import { type GossipConfig, lanConfig, pushPullScaled, suspicionTimeout, transmitLimit, wanConfig } from './config.ts'
import { Suspicion } from './suspicion.ts'

describe('a suspicion', () => {
  const ask = { before: 1_500, every: 500, atLeast: 1_000 }
  const options = { from: 'a', wanted: 3, min: 2_000, max: 30_000, ask }

  /** What is due at which time, looking every 100 ms, with these confirmations at these times. */
  function course(suspicion: Suspicion, confirmations: Record<number, string> = {}): string[] {
    const dues: string[] = []
    for (let now = 0; now <= 31_000; now += 100) {
      const from = confirmations[now]
      if (from !== undefined) suspicion.confirm(from)
      const due = suspicion.due(now)
      if (due !== undefined) dues.push(`${due} ${now}`)
      if (due === 'over') return dues
    }
    return dues
  }

  it('ends with asking the suspect itself', () => {
    const expected = ['ask 28500', 'ask 29000', 'ask 29500', 'over 30000']
    assert.deepEqual(course(new Suspicion(options, 0)), expected)
  })

  it('asks also who is confirmed so late that there is no time left', () => {
    const confirmations = { 9000: 'b', 9100: 'c', 9200: 'd' }
    assert.deepEqual(course(new Suspicion(options, 0), confirmations), ['ask 9100', 'ask 9600', 'over 10100'])
  })

  it('without confirmations lasts for the longest time', () => {
    assert.equal(new Suspicion(options, 500).deadline, 30_500)
  })

  // max - log(confirmations + 1) / log(wanted + 1) * (max - min)
  const expected = [30_000, 16_000, 7_810, 2_000]
  for (const [confirmations, deadline] of expected.entries()) {
    it(`with ${confirmations} of 3 confirmations lasts ${deadline} ms`, () => {
      const suspicion = new Suspicion(options, 0)
      for (let one = 0; one < confirmations; one++) assert.equal(suspicion.confirm(`confirmer ${one}`), true)
      assert.equal(suspicion.deadline, deadline)
    })
  }

  it('counts every accuser once, and the first not at all', () => {
    const suspicion = new Suspicion(options, 0)
    assert.equal(suspicion.confirm('a'), false)
    assert.equal(suspicion.confirm('b'), true)
    assert.equal(suspicion.confirm('b'), false)
    assert.equal(suspicion.deadline, 16_000)
  })

  it('takes no more confirmations than it wants', () => {
    const suspicion = new Suspicion(options, 0)
    for (const from of ['b', 'c', 'd']) suspicion.confirm(from)
    assert.equal(suspicion.confirm('e'), false)
    assert.equal(suspicion.deadline, 2_000)
  })

  it('is short from the start when nobody could confirm it', () => {
    assert.equal(new Suspicion({ ...options, wanted: 0 }, 100).deadline, 2_100)
  })
})

describe('gossip settings', () => {
  it("are Consul's, as 1.8.7 says under DebugConfig", () => {
    const debug = ({
      gossipInterval,
      gossipNodes,
      probeInterval,
      probeTimeout,
      retransmitMult,
      suspicionMult,
    }: GossipConfig) => {
      return { gossipInterval, gossipNodes, probeInterval, probeTimeout, retransmitMult, suspicionMult }
    }
    const lan = { gossipInterval: 200, gossipNodes: 3, probeInterval: 1_000, probeTimeout: 500 }
    assert.deepEqual(debug(lanConfig), { ...lan, retransmitMult: 4, suspicionMult: 4 })
    const wan = { gossipInterval: 500, gossipNodes: 3, probeInterval: 5_000, probeTimeout: 3_000 }
    assert.deepEqual(debug(wanConfig), { ...wan, retransmitMult: 4, suspicionMult: 6 })
  })

  it('suspicions grow with the logarithm of the pool', () => {
    assert.deepEqual(
      [1, 3, 10, 100].map((size) => suspicionTimeout(lanConfig, size)),
      [4_000, 4_000, 4_000, 8_000],
    )
    assert.equal(suspicionTimeout(wanConfig, 3), 30_000)
  })

  it('retransmits grow with the logarithm of the pool', () => {
    assert.deepEqual(
      [1, 3, 9, 10, 99, 300].map((size) => transmitLimit(4, size)),
      [4, 4, 4, 8, 8, 12],
    )
  })

  it('state exchanges become rarer in large pools', () => {
    assert.deepEqual(
      [3, 32, 33, 64, 65, 300].map((size) => pushPullScaled(30_000, size)),
      [30_000, 30_000, 60_000, 60_000, 90_000, 150_000],
    )
  })
})
