/** One test per claim: SWIM (Das, Gupta, Motivala 2002) §3 and §4, then Lifeguard (arXiv:1707.00788) §IV. */
import assert from 'node:assert/strict'
import { Pool } from '../../test/gossip/pool.ts'
import { addressOf, alive, all, Wire } from '../../test/gossip/wire.ts'
import { Random } from '../io/random.ts'
import { lanConfig } from './config.ts'
import type { Message } from './message.ts'

const names = (count: number) => Array.from({ length: count }, (_, place) => `b${place + 1}`)

/** Answers a ping as its target would. */
const ackOf = (ping: Message & { type: 'ping' }): Message => {
  return { type: 'ack', sequence: ping.sequence, from: ping.target }
}

/** Lets time pass and answers every ping, except those to `silent`; nacks for them are sent by everybody who is asked. */
function answerAll(wire: Wire, span: number, silent: string[] = []): Message[] {
  const seen: Message[] = []
  for (let passed = 0; passed < span; passed += 100) {
    for (const { messages, to } of wire.run(100)) {
      for (const message of messages) {
        seen.push(message)
        if (message.type === 'ping' && !silent.includes(message.target)) wire.hear(ackOf(message))
        if (message.type === 'pingRequest' && to !== undefined) {
          wire.hear({ type: 'nack', sequence: message.sequence, from: to.host.split('.')[0] as string })
        }
      }
    }
  }
  return seen
}

describe('SWIM', () => {
  it('§3.1 one member is pinged per protocol period', () => {
    const wire = new Wire()
    wire.meet(...names(5))
    assert.equal(answerAll(wire, 20_000).filter(({ type }) => type === 'ping').length, 20)
  })

  it('§3.1 a member that does not answer is pinged through k others, and over a connection', () => {
    const wire = new Wire()
    wire.meet(...names(6))
    const { message: ping, to: target } = wire.runUntil('ping')
    const sent = wire.run(600)
    const requests = all(sent, 'pingRequest')
    assert.equal(requests.length, lanConfig.indirectProbes)
    for (const request of requests) {
      assert.deepEqual([request.target, request.targetAddress, request.sequence], [ping.target, target, ping.sequence])
      assert.deepEqual([request.from, request.address], ['me', addressOf('me')])
    }
    const asked = sent.filter(({ messages }) => messages.some(({ type }) => type === 'pingRequest'))
    assert.equal(new Set(asked.map(({ to }) => to?.host)).size, 3)
    assert.ok(asked.every(({ to }) => to?.host !== target?.host))
    assert.deepEqual(
      sent.filter(({ via }) => via === 'frame').map(({ to, messages }) => [to, messages.at(-1)]),
      [[target, ping]],
    )
  })

  it('a member that does not answer is pinged again twice in the rest of the interval, as good as the first time', () => {
    const wire = new Wire()
    wire.meet(...names(5))
    const { message: first } = wire.runUntil('ping')
    const later = all(
      wire.run(900).filter(({ via }) => via === 'datagram'),
      'ping',
    )
    assert.deepEqual(
      later.map(({ target }) => target),
      [first.target, first.target],
    )
    // By another number: what is measured is the way there and back of the first.
    assert.ok(later.every(({ sequence }) => sequence === later[0]?.sequence && sequence !== first.sequence))
    wire.hear(ackOf(later[0]!))
    wire.run(1_000)
    assert.equal(wire.gossip.get(first.target)?.status, 'alive')
    assert.equal(wire.gossip.health, 0)
  })

  it('§3.1 an answer through another is as good as a direct one', () => {
    const wire = new Wire()
    wire.meet('b', 'c', 'd')
    const { message: ping } = wire.runUntil('ping')
    wire.run(700)
    wire.hear(ackOf(ping))
    wire.run(600)
    assert.equal(wire.gossip.get(ping.target)?.status, 'alive')
    assert.equal(wire.gossip.health, 0)
  })

  it('§3.1 an answer over the connection is as good as one by datagram', () => {
    const wire = new Wire()
    wire.meet('b')
    const { message: ping } = wire.runUntil('ping')
    wire.run(700)
    wire.hearFrame(ackOf(ping))
    wire.run(600)
    assert.equal(wire.gossip.get('b')?.status, 'alive')
  })

  it('§3.1 a member asked to ping passes the answer on, to the address the asker advertises', () => {
    const wire = new Wire()
    wire.meet('b', 'c')
    const request = { type: 'pingRequest', sequence: 77, target: 'c', targetAddress: addressOf('c') } as const
    wire.hear({ ...request, from: 'b', address: addressOf('b') })
    const [toTarget] = wire.sent()
    assert.deepEqual(toTarget?.to, addressOf('c'))
    const [ping] = toTarget?.messages ?? []
    assert.ok(ping?.type === 'ping' && ping.target === 'c' && ping.from === 'me' && ping.sequence !== 77)
    wire.hear(ackOf(ping))
    const [passedOn] = wire.sent()
    assert.deepEqual([passedOn?.to, passedOn?.messages[0]], [addressOf('b'), { type: 'ack', sequence: 77, from: 'c' }])
  })

  it('§3.1 only the answer of that ping by that member counts', () => {
    const wire = new Wire()
    wire.meet('b', 'c')
    const { message: ping } = wire.runUntil('ping')
    wire.hear({ ...ackOf(ping), sequence: (ping.sequence + 1) >>> 0 } as Message)
    wire.hear({ type: 'ack', sequence: ping.sequence, from: ping.target === 'b' ? 'c' : 'b' })
    wire.run(1_200)
    assert.equal(wire.gossip.get(ping.target)?.status, 'suspect')
  })

  it('§3.1 a ping for somebody else stays unanswered', () => {
    const wire = new Wire()
    wire.hear({ type: 'ping', sequence: 5, target: 'before', from: 'b', address: addressOf('b') })
    assert.deepEqual(wire.sent(), [])
    wire.hear({ type: 'ping', sequence: 5, target: 'me', from: 'b', address: addressOf('b') })
    const [answer] = wire.sent()
    assert.deepEqual([answer?.to, answer?.messages], [addressOf('b'), [{ type: 'ack', sequence: 5, from: 'me' }]])
  })

  it('§4.1 news rides on pings and acknowledgements', () => {
    const wire = new Wire()
    wire.meet('b')
    wire.run(1_000)
    wire.hear(alive('c', 1))
    wire.hear({ type: 'ping', sequence: 5, target: 'me', from: 'b', address: addressOf('b') })
    const [answer] = wire.sent()
    assert.equal(answer?.messages[0]?.type, 'ack')
    assert.ok(answer?.messages.some((message) => message.type === 'alive' && message.name === 'c'))
  })

  it('§4.1 each piece of news is sent λ log n times', () => {
    const wire = new Wire()
    wire.meet(...names(20))
    answerAll(wire, 60_000)
    wire.hear(alive('b7', 2))
    const sent = answerAll(wire, 60_000)
    const times = sent.filter((message) => message.type === 'alive' && message.name === 'b7').length
    assert.equal(times, lanConfig.retransmitMult * 2)
  })

  it('§4.1 datagrams stay below 1,400 bytes, however much news there is', () => {
    const pool = new Pool(5)
    pool.startJoined(60)
    pool.run(5_000)
    assert.ok(pool.largestDatagram > 1_000 && pool.largestDatagram <= 1_400, `${pool.largestDatagram}`)
  })

  it('§4.1 datagrams stay below 1,400 bytes with the longest names there can be, whatever is said', () => {
    const long = (letter: string) => ({ host: letter.repeat(255), port: 65_535 })
    const wire = new Wire({ name: 'm'.repeat(255), address: long('m') })
    for (const letter of ['b', 'c', 'd', 'e']) {
      wire.hear(alive(letter.repeat(255), 2 ** 47 - 1, { address: long(letter) }))
    }
    for (const letter of ['b', 'c']) {
      wire.hear({ type: 'suspect', name: letter.repeat(255), incarnation: 2 ** 47 - 1, from: 'x'.repeat(255) })
    }
    const [b, c] = ['b'.repeat(255), 'c'.repeat(255)]
    const request = { type: 'pingRequest', sequence: 2 ** 53 - 1, target: c, targetAddress: long('c') } as const
    wire.hear({ ...request, from: b, address: long('b') })
    const lengths: number[] = []
    for (let tick = 0; tick < 100; tick++) {
      wire.now += 100
      wire.gossip.tick(wire.now)
      lengths.push(...wire.gossip.ready().datagrams.map(({ bytes }) => bytes.length))
    }
    // Encryption takes 32 bytes more.
    assert.ok(Math.max(...lengths) <= 1_400 - 32 && Math.max(...lengths) > 1_300, `${Math.max(...lengths)}`)
  })

  it('§4.2 who fails a probe is suspected first, and takes part for now', () => {
    const wire = new Wire()
    wire.meet('b', 'c')
    const { message: ping } = wire.runUntil('ping')
    const sent = wire.run(1_200)
    assert.equal(wire.gossip.get(ping.target)?.status, 'suspect')
    const [suspicion] = all(sent, 'suspect')
    assert.deepEqual(suspicion, { type: 'suspect', name: ping.target, incarnation: 1, from: 'me' })
    assert.ok(!wire.story.includes(`failed ${ping.target}`))
  })

  it('§4.2 a suspect that stays silent has failed, and everybody is told', () => {
    const wire = new Wire()
    wire.meet('b')
    wire.hear({ type: 'suspect', name: 'b', incarnation: 1, from: 'c' })
    wire.run(3_900)
    assert.equal(wire.gossip.get('b')?.status, 'suspect')
    const sent = wire.run(400)
    assert.equal(wire.gossip.get('b')?.status, 'failed')
    assert.deepEqual(all(sent, 'failed')[0], { type: 'failed', name: 'b', incarnation: 1, from: 'me' })
    assert.deepEqual(wire.story.slice(1), ['join b', 'suspect b', 'failed b'])
  })

  it('§4.2 the dead are gossiped to for half a minute, in case that they are not', () => {
    const wire = new Wire()
    wire.meet('b')
    wire.hear({ type: 'failed', name: 'b', incarnation: 1, from: 'x' })
    const told = (span: number, name: string) => {
      // It is the only one who could be told; pings to the failed begin with what we think of them.
      wire.hear(alive(name, 1, { address: addressOf('b') }), { type: 'left', name, incarnation: 1, from: name })
      const sent = wire.run(span).filter(({ messages }) => messages[0]?.type !== 'failed')
      return sent.some(({ to, via }) => via === 'datagram' && to?.host === addressOf('b').host)
    }
    assert.equal(told(1_000, 'c'), true)
    wire.run(lanConfig.gossipToFailed)
    assert.equal(told(5_000, 'd'), false)
  })

  it('§4.2 a suspect that speaks up with a higher incarnation is alive again', () => {
    const wire = new Wire()
    wire.meet('b')
    wire.hear({ type: 'suspect', name: 'b', incarnation: 1, from: 'c' })
    wire.hear(alive('b', 2))
    wire.run(10_000)
    assert.deepEqual(wire.story.slice(1, 4), ['join b', 'suspect b', 'refuted b'])
  })

  it('§4.2 we overrule whatever is said of us, with a higher incarnation, and everybody is told', () => {
    const wire = new Wire()
    wire.meet('b')
    for (const [step, type] of (['suspect', 'failed', 'left', 'pruned'] as const).entries()) {
      const incarnation = wire.gossip.self.incarnation + step
      wire.hear({ type, name: 'me', incarnation, from: 'b' })
      assert.equal(wire.gossip.self.incarnation, incarnation + 1)
      assert.equal(wire.gossip.self.status, 'alive')
      const news = all(wire.run(300), 'alive').find(({ name }) => name === 'me')
      assert.equal(news?.incarnation, incarnation + 1)
    }
  })

  it('§4.2 nobody but a member itself raises its incarnation', () => {
    const pool = new Pool(9, { weather: { loss: 0.3, frameLoss: 0.5 } })
    pool.startJoined(6)
    for (let second = 0; second < 120; second++) {
      pool.run(1_000)
      for (const { gossip } of pool.processes) {
        for (const { name, incarnation } of gossip.members()) {
          const itself = pool.processes.find((process) => process.name === name)?.gossip.self.incarnation ?? 0
          assert.ok(incarnation <= itself, `${name} is at ${itself}, somebody believes ${incarnation}`)
        }
      }
    }
  })

  it('§4.3 within one round everybody is pinged once, and the order changes from round to round', () => {
    const wire = new Wire()
    wire.meet(...names(8))
    const pinged = answerAll(wire, 60_000).flatMap((message) => (message.type === 'ping' ? [message.target] : []))
    const rounds: string[] = []
    // Newcomers were put at random places; the first whole round begins after at most that many pings.
    for (let start = 8; start + 8 <= pinged.length; start += 8) {
      const round = pinged.slice(start, start + 8)
      rounds.push(round.join(' '))
    }
    const first = pinged.findIndex((_, start) => start <= 8 && new Set(pinged.slice(start, start + 8)).size === 8)
    for (let start = first; start + 8 <= pinged.length; start += 8) {
      assert.equal(new Set(pinged.slice(start, start + 8)).size, 8)
    }
    assert.equal(new Set(rounds).size, rounds.length)
  })

  it('§4.3 between two pings of a member there are less than two rounds: a death is noticed in bounded time', () => {
    const wire = new Wire()
    const pool = names(8)
    wire.meet(...pool)
    const pinged = answerAll(wire, 300_000).flatMap((message) => (message.type === 'ping' ? [message.target] : []))
    for (const name of pool) {
      const places = pinged.flatMap((target, place) => (target === name ? [place] : []))
      const gaps = places.slice(1).map((place, before) => place - (places[before] as number))
      assert.ok(Math.max(...gaps) <= 2 * pool.length - 1, `${name}: ${gaps}`)
    }
  })

  it('§4.3 a newcomer is pinged within two rounds', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const wire = new Wire({ random: new Random(seed) })
      wire.meet(...names(8))
      answerAll(wire, 1_000 * seed)
      wire.meet('newcomer')
      const pinged = answerAll(wire, 17_000).flatMap((message) => (message.type === 'ping' ? [message.target] : []))
      assert.ok(pinged.includes('newcomer'))
    }
  })
})

describe('Lifeguard', () => {
  it('LHA-Probe: failed probes that nobody witnesses raise our health score and slow our probes down', () => {
    const wire = new Wire()
    wire.meet(...names(12))
    const before = all(wire.run(4_000), 'ping').filter(({ from }) => from === 'me')
    assert.ok(wire.gossip.health > 2, `${wire.gossip.health}`)
    const score = wire.gossip.health
    wire.run(1_000 * (score + 1))
    assert.ok(wire.gossip.health > score)
    const span = 10_000
    const during = new Set(all(wire.run(span), 'ping').map(({ sequence }) => sequence))
    assert.ok(during.size <= 3, `${during.size} probes in ${span} ms, ${before.length} in 4 s before`)
    assert.equal(wire.gossip.health, 7)
  })

  it('LHA-Probe: when those we asked say that they did not reach it either, it is not us', () => {
    const wire = new Wire()
    wire.meet(...names(5))
    answerAll(wire, 35_000, ['b3'])
    assert.equal(wire.gossip.get('b3')?.status, 'failed')
    assert.equal(wire.gossip.health, 0)
  })

  it('LHA-Probe: answers in time make us well again', () => {
    const wire = new Wire()
    wire.meet(...names(5))
    wire.gossip.stall(3_000)
    assert.equal(wire.gossip.health, 3)
    answerAll(wire, 15_000)
    assert.equal(wire.gossip.health, 0)
  })

  it('LHA-Probe: who is suspected by others doubts itself', () => {
    const wire = new Wire()
    wire.hear({ type: 'suspect', name: 'me', incarnation: 1, from: 'b' })
    assert.equal(wire.gossip.health, 1)
  })

  it('LHA-Probe: a member asked to ping says nack while the asker can still hear it', () => {
    const wire = new Wire()
    wire.meet('b', 'c')
    wire.hear({
      type: 'pingRequest',
      sequence: 77,
      target: 'c',
      targetAddress: addressOf('c'),
      from: 'b',
      address: addressOf('b'),
    })
    const sent = wire.run(lanConfig.probeInterval - lanConfig.probeTimeout - 100)
    const nack = sent.find(({ messages }) => messages.some(({ type }) => type === 'nack'))
    assert.deepEqual([nack?.to, nack?.messages[0]], [addressOf('b'), { type: 'nack', sequence: 77, from: 'me' }])
    assert.equal(all(wire.run(2_000), 'nack').length, 0)
  })

  it('LHA-Suspicion: more accusers make a suspicion shorter', () => {
    const lasts = (confirmations: number) => {
      const wire = new Wire()
      wire.meet(...names(9))
      const accusers = ['x1', 'x2', 'x3'].slice(0, confirmations + 1)
      for (const from of accusers) wire.hear({ type: 'suspect', name: 'b4', incarnation: 1, from })
      const begin = wire.now
      while (wire.gossip.get('b4')?.status === 'suspect') answerAll(wire, 100)
      return wire.now - begin
    }
    // 6 * 4 s with none, 4 s with both confirmations that suspicionMult asks for, logarithmic between; in ticks.
    assert.deepEqual([lasts(0), lasts(1), lasts(2)], [24_000, 11_400, 4_000])
  })

  it('LHA-Suspicion: an independent accusation is passed on, a repeated one is not', () => {
    const wire = new Wire()
    wire.meet(...names(9))
    answerAll(wire, 30_000)
    const accuse = (from: string) => {
      wire.hear({ type: 'suspect', name: 'b4', incarnation: 1, from })
      return all(wire.run(200), 'suspect').some((news) => news.from === from)
    }
    assert.equal(accuse('b1'), true)
    assert.equal(accuse('b2'), true)
    wire.run(5_000)
    assert.equal(accuse('b2'), false)
  })

  it('buddy system: a suspect about to fail is asked by whoever still suspects it, and told so first', () => {
    const wire = new Wire()
    wire.meet(...names(9))
    const suspicion = { type: 'suspect', name: 'b4', incarnation: 1, from: 'b1' } as const
    wire.hear(suspicion, { ...suspicion, from: 'b2' }, { ...suspicion, from: 'b3' })
    const asked = answerAll(wire, 3_000).filter((message) => message.type === 'ping' && message.target === 'b4')
    assert.ok(asked.length >= 4, `${asked.length}`)
    for (;;) {
      for (const { messages } of wire.run(100)) {
        const [news, ping] = messages
        if (ping?.type !== 'ping' || ping.target !== 'b4') continue
        assert.deepEqual(news, suspicion)
        // It has said so before, but that was lost.
        wire.hear(ackOf(ping), alive('b4', 2))
        wire.run(10_000)
        assert.ok(!wire.story.includes('failed b4'))
        return
      }
    }
  })

  it('buddy system: whoever is pinged hears first that it is suspected', () => {
    const wire = new Wire()
    wire.meet('b')
    wire.hear({ type: 'suspect', name: 'b', incarnation: 1, from: 'x' })
    const { messages } = wire.runUntil('ping')
    assert.deepEqual(messages[0], { type: 'suspect', name: 'b', incarnation: 1, from: 'x' })
  })

  it('a process that stood still accuses nobody of what it did not hear meanwhile', () => {
    const pool = new Pool(11)
    const [slow, ...others] = pool.startJoined(5)
    pool.until(() => pool.converged(), 2_000)
    for (let stall = 0; stall < 20; stall++) {
      pool.pause(slow!)
      pool.run(pool.random.between(500, 3_500))
      pool.resume(slow!)
      pool.run(pool.random.between(100, 2_000))
    }
    const accused = [slow!, ...others].flatMap(({ events }) => {
      return events.flatMap(({ event }) => (event.type === 'failed' ? [event.member.name] : []))
    })
    assert.deepEqual(accused, [])
    const suspected = slow!.events.flatMap(({ event }) =>
      event.type === 'suspect' && event.from === 'm1' ? [event] : [],
    )
    assert.deepEqual(suspected, [])
  })

  it('a process that is alone is well again soon', () => {
    const wire = new Wire()
    wire.gossip.stall(3_000)
    wire.run(12_000)
    assert.equal(wire.gossip.health, 0)
  })

  it('ticks that are as far apart as the probes of a quick pool are no stalls', () => {
    const config = { ...lanConfig, probeInterval: 100, probeTimeout: 100 }
    const wire = new Wire({ config })
    const tickAfter = (gap: number) => {
      wire.now += gap
      wire.gossip.tick(wire.now)
    }
    for (let tick = 0; tick < 50; tick++) tickAfter(tick % 2 === 0 ? 90 : 130)
    assert.equal(wire.gossip.health, 0)
    tickAfter(1_000)
    assert.ok(wire.gossip.health >= 3, `${wire.gossip.health}`)
  })

  it('a stall raises the health score, a slow tick does not', () => {
    const wire = new Wire()
    wire.meet('b')
    wire.gossip.tick(wire.now)
    wire.gossip.tick(wire.now + 900)
    assert.equal(wire.gossip.health, 0)
    wire.gossip.tick(wire.now + 4_900)
    assert.equal(wire.gossip.health, 4)
  })
})
