import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { Wires } from '../../test/gossip/wires.ts'
import { Keyring } from './keyring.ts'
import { frameKind } from './peers.ts'
import { SealedChannel, type SealingRules } from './sealed.ts'

const [first, second] = [1, 2].map((fill) => Buffer.alloc(32, fill).toString('base64')) as [string, string]
/** Of the last test. */
const inputs = Number(process.env.INPUTS ?? 20_000)
const packet = Buffer.from('RG what members say')
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString()

interface End {
  channel: SealedChannel
  heard: string[]
  failed: string[]
  logged: string[]
  say(kind: 'datagram' | 'frame'): void
  take(bytes: Uint8Array, kind?: 'datagram' | 'frame'): Uint8Array[]
}

/** Two agents; each answers every frame but an answer. */
function pair(
  one: { keys?: string[]; rules?: Partial<SealingRules> },
  other: { keys?: string[]; rules?: Partial<SealingRules> },
) {
  const wires = new Wires()
  const [left, right] = [one, other].map(({ keys, rules }, at): End => {
    const station = wires.station(`10.0.0.${at + 1}`)
    const keyring = keys === undefined ? undefined : new Keyring(keys)
    const channel = new SealedChannel(station.io, 'lan', keyring, {
      verifyIncoming: true,
      verifyOutgoing: true,
      ...rules,
    })
    const heard: string[] = []
    const failed: string[] = []
    channel.onDatagram('lan', (bytes) => heard.push(`datagram ${text(bytes)}`))
    channel.onFrame('lan', (bytes, reply) => {
      heard.push(`frame ${text(bytes)}`)
      if (!text(bytes).startsWith('RG answer')) reply(Buffer.from('RG answer'))
    })
    const to = { host: `10.0.0.${2 - at}`, port: 8301 }
    return {
      channel,
      heard,
      failed,
      logged: station.logged,
      say: (kind) => {
        if (kind === 'datagram') channel.datagram('lan', to, packet)
        else channel.frame('lan', to, packet, (reason) => failed.push(reason.message))
        wires.deliver()
      },
      take: (bytes, kind = 'frame') => {
        const answers: Uint8Array[] = []
        if (kind === 'datagram') station.datagram(bytes)
        else station.frame(bytes, (answer) => answers.push(answer))
        return answers
      },
    }
  }) as [End, End]
  return { wires, left, right }
}

/** Both ways, both kinds. */
function everythingHeard(ends: ReturnType<typeof pair>): boolean {
  const { left, right } = ends
  for (const end of [left, right]) {
    end.say('datagram')
    end.say('frame')
  }
  const wanted = ['datagram RG what members say', 'frame RG answer', 'frame RG what members say'].join()
  return [left, right].every(({ heard, channel }) => [...heard].sort().join() === wanted && channel.dropped === 0)
}

describe('a sealed channel', () => {
  it('carries what is said, and nobody else can read it', () => {
    const ends = pair({ keys: [first] }, { keys: [first] })
    assert.ok(everythingHeard(ends))
    for (const { bytes } of ends.wires.sent) assert.doesNotMatch(text(bytes), /RG|members|answer/)
    assert.deepEqual(
      ends.wires.sent.map(({ bytes }) => bytes.length).sort((one, other) => one - other),
      [9, 9, 19, 19, 19, 19].map((length) => length + 29),
    )
  })

  it('without keys carries it as it is', () => {
    const ends = pair({}, {})
    assert.ok(everythingHeard(ends))
    assert.match(text(ends.wires.sent[0]!.bytes), /^RG what/)
  })

  const off = { verifyIncoming: false, verifyOutgoing: false }
  const sending = { verifyIncoming: false, verifyOutgoing: true }
  const upgrade: [string, Parameters<typeof pair>][] = [
    ['nobody has a key, one gets it', [{}, { keys: [first], rules: off }]],
    [
      'all have the key',
      [
        { keys: [first], rules: off },
        { keys: [first], rules: off },
      ],
    ],
    [
      'one seals',
      [
        { keys: [first], rules: off },
        { keys: [first], rules: sending },
      ],
    ],
    [
      'all seal',
      [
        { keys: [first], rules: sending },
        { keys: [first], rules: sending },
      ],
    ],
    ['one insists', [{ keys: [first], rules: sending }, { keys: [first] }]],
    ['all insist', [{ keys: [first] }, { keys: [first] }]],
  ]
  for (const [what, [one, other]] of upgrade) {
    it(`loses nothing while encryption is brought in: ${what}`, () => {
      assert.ok(everythingHeard(pair(one, other)))
      assert.ok(everythingHeard(pair(other, one)))
    })
  }

  const rotation: [string, string[], string[]][] = [
    ['one has the new key', [first], [first, second]],
    ['all have it', [first, second], [first, second]],
    ['one uses it', [first, second], [second, first]],
    ['all use it', [second, first], [second, first]],
    ['one has only it', [second, first], [second]],
  ]
  for (const [what, one, other] of rotation) {
    it(`loses nothing while keys are changed: ${what}`, () => {
      assert.ok(everythingHeard(pair({ keys: one }, { keys: other })))
    })
  }

  const strangers: [string, Parameters<typeof pair>, { sender: RegExp; receiver: RegExp }][] = [
    [
      'an agent without the key',
      [{}, { keys: [first] }],
      {
        sender: /^Remote state is encrypted and encryption is not configured; start this agent with -encrypt/,
        receiver: /received an unencrypted packet, and encrypt_verify_incoming is on/,
      },
    ],
    [
      'an encrypted agent at one without',
      [{ keys: [first] }, {}],
      {
        sender: /^Encryption is configured but remote state is not encrypted: that agent has no key/,
        receiver: /Remote state is encrypted and encryption is not configured/,
      },
    ],
    [
      'an agent with another key',
      [{ keys: [second] }, { keys: [first] }],
      {
        sender: /^No installed keys could decrypt the message; that agent has other keys than this one/,
        receiver: /No installed keys could decrypt the message/,
      },
    ],
    [
      'an agent that has the key and does not seal',
      [{ keys: [first], rules: off }, { keys: [first] }],
      {
        sender: /^that agent takes only what is encrypted, and encrypt_verify_outgoing is off here/,
        receiver: /received an unencrypted packet/,
      },
    ],
  ]
  for (const [what, [one, other], { sender, receiver }] of strangers) {
    it(`keeps ${what} out, and both are told at once`, () => {
      const { left, right } = pair(one, other)
      left.say('frame')
      assert.deepEqual(right.heard, [])
      assert.equal(left.failed.length, 1)
      assert.match(left.failed[0]!, sender)
      assert.match(left.logged.join(), sender.source.startsWith('^') ? new RegExp(sender.source.slice(1)) : sender)
      assert.match(right.logged.join('\n'), receiver)
      assert.match(right.logged[0]!, /from=somewhere:1/)
    })

    it(`answers nothing to a datagram of ${what}`, () => {
      const { wires, left, right } = pair(one, other)
      left.say('datagram')
      assert.equal(wires.sent.length, 1)
      assert.deepEqual(right.heard, [])
      assert.equal(right.channel.dropped, 1)
      assert.match(right.logged.join('\n'), receiver)
    })
  }

  it('tells a datagram from a frame, and one pool from the other', () => {
    const { wires, left, right } = pair({ keys: [first] }, { keys: [first] })
    left.say('datagram')
    const { bytes } = wires.sent[0]!
    right.take(bytes)
    assert.deepEqual(right.heard, ['datagram RG what members say'])
    const elsewhere = wires.station('10.0.0.9', 'wan')
    const wan = new SealedChannel(elsewhere.io, 'wan', new Keyring([first]), {
      verifyIncoming: true,
      verifyOutgoing: true,
    })
    elsewhere.datagram(bytes)
    assert.equal(wan.dropped, 1)
  })

  it('fills the log with one line of a kind a minute, whatever comes, and says how much more there was', () => {
    const { wires, right } = pair({}, { keys: [first] })
    for (let more = 0; more < 1000; more++) {
      right.take(Buffer.concat([Buffer.from('R'), randomBytes(100)]), 'datagram')
      right.take(Buffer.concat([Buffer.from([0xe1]), randomBytes(100)]), 'datagram')
    }
    assert.equal(right.logged.length, 2)
    assert.equal(right.channel.dropped, 2000)
    wires.now = 60_000
    right.channel.tick()
    assert.equal(right.logged.length, 4)
    for (const line of right.logged.slice(2)) assert.match(line, /: 999 more within 60 s$/)
  })

  it('believes a notice only about a frame that was sent lately, and answers none', () => {
    const { wires, left } = pair({ keys: [first] }, { keys: [first] })
    left.say('frame')
    const sent = wires.sent[0]!.bytes
    const notice = (why: number, checksum: number, length: number) => {
      const bytes = Buffer.alloc(10)
      bytes.set([0xe0, why])
      bytes.writeUInt32BE(checksum, 2)
      bytes.writeUInt32BE(length, 6)
      return bytes
    }
    assert.deepEqual(left.take(notice(2, 12345, 100)), [])
    assert.deepEqual(left.take(notice(2, crc32(sent), sent.length + 1)), [])
    assert.deepEqual(left.take(Buffer.from([0xe0])), [])
    assert.deepEqual(left.failed, [])
    left.take(notice(9, crc32(sent), sent.length))
    left.take(notice(2, crc32(sent), sent.length))
    assert.deepEqual(left.failed, ['that agent does not take what this one says; is it newer?'])
    left.say('frame')
    const late = wires.sent.at(-2)!.bytes
    wires.now = 20_000
    left.take(notice(2, crc32(late), late.length))
    assert.equal(left.failed.length, 1)
  })

  it('tells of a frame that was refused once, also when its connection breaks then', () => {
    const station = new Wires().station('10.0.0.1')
    let sent = Buffer.alloc(0)
    let broken: ((reason: Error) => void) | undefined
    station.io.network.frame = (_channel, _to, bytes, onFailed) => {
      sent = Buffer.from(bytes)
      broken = onFailed
    }
    const channel = new SealedChannel(station.io, 'lan', undefined, { verifyIncoming: true, verifyOutgoing: true })
    const failed: string[] = []
    channel.frame('lan', { host: '10.0.0.2', port: 8301 }, packet, ({ message }) => failed.push(message))
    const notice = Buffer.alloc(10)
    notice.set([0xe0, 1])
    notice.writeUInt32BE(crc32(sent), 2)
    notice.writeUInt32BE(sent.length, 6)
    station.frame(notice)
    broken?.(new Error('the connection was lost'))
    assert.equal(failed.length, 1)
    assert.match(failed[0] ?? '', /^Remote state is encrypted/)
  })

  it('waits for no answer that it cannot read: the other side has this key still, and uses another', () => {
    const { wires, right } = pair({ keys: [first] }, { keys: [second, first] })
    const station = wires.station('10.0.0.1')
    const channel = new SealedChannel(station.io, 'lan', new Keyring([first]), {
      verifyIncoming: true,
      verifyOutgoing: true,
    })
    const failed: string[] = []
    for (const host of ['10.0.0.2', '10.0.0.3']) {
      channel.frame('lan', { host, port: 8301 }, packet, ({ message }) => failed.push(`${host}: ${message}`))
    }
    const [answer] = right.take(wires.sent[0]!.bytes)
    station.frame(answer!, () => {}, '10.0.0.2:8301')
    station.frame(answer!, () => {}, '10.0.0.2:8301')
    assert.deepEqual(right.heard, ['frame RG what members say'])
    assert.equal(failed.length, 1)
    assert.match(failed[0]!, /^10\.0\.0\.2: its answer cannot be read: No installed keys could decrypt the message/)
  })

  it('takes no request in the clear where there is a key, whatever the rules', () => {
    for (const kind of [frameKind.request, frameKind.reply]) {
      const { right } = pair({}, { keys: [first], rules: off })
      let asked = 0
      right.channel.requests.onFrame(() => asked++)
      assert.equal(right.take(Buffer.from([kind, 0, 0, 0, 1, 0x90]))[0]?.[0], 0xe0)
      assert.equal(asked, 0)
    }
  })

  it('seals requests and their answers, whatever the rules', () => {
    const { wires, left, right } = pair({ keys: [first], rules: off }, { keys: [first], rules: off })
    right.channel.requests.onFrame((bytes, reply) => reply(Buffer.concat([Buffer.from([3]), bytes.subarray(1)])))
    let answered: Uint8Array | undefined
    left.channel.requests.onFrame((bytes) => {
      answered = bytes
    })
    left.channel.requests.frame('lan', { host: '10.0.0.2', port: 8301 }, Buffer.from([2, ...Buffer.from('secret')]))
    wires.deliver()
    assert.equal(text(answered!.subarray(1)), 'secret')
    assert.equal(wires.sent.length, 2)
    for (const { bytes } of wires.sent) assert.doesNotMatch(text(bytes), /secret/)
  })

  it('whatever the bytes, nothing throws, and nothing gets through', function () {
    this.timeout(20_000 + inputs / 10)
    const { left, right } = pair({ keys: [first] }, { keys: [second] })
    left.say('frame')
    right.heard.length = 0
    const sealed = Buffer.concat([Buffer.from([0xe1]), randomBytes(60)])
    for (let run = 0; run < inputs; run++) {
      const bytes = randomBytes(1 + (run % 80))
      // Every kind of first byte there is, and every other.
      bytes[0] = [0xe1, 0xe0, 0x52, 1, 2, 3, run & 255][run % 7] as number
      const answers = right.take(bytes, run % 2 === 0 ? 'frame' : 'datagram')
      assert.ok(answers.length <= 1 && (answers[0]?.length ?? 0) <= 10)
      const flipped = Buffer.from(sealed)
      flipped[run % flipped.length] = run & 255
      right.take(flipped)
    }
    assert.deepEqual(right.heard, [])
    assert.ok(right.logged.length < 5)
  })
})
