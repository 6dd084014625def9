import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import type { Address } from '../model.ts'
import { frameHeader, frameLengthMax } from './frames.ts'
import { type Listen, type NetworkLimits, NodeNetwork } from './node-network.ts'

const loopback = { host: '127.0.0.1', port: 0 }
const log = () => {}
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('utf8')

describe('the real network', () => {
  const opened: { close(): Promise<void> }[] = []
  const halts: Error[] = []
  const open = async (listen: Listen = { rpc: loopback, lan: loopback }, limits: Partial<NetworkLimits> = {}) => {
    const network = await NodeNetwork.open(listen, log, (reason) => halts.push(reason), limits)
    opened.push(network)
    return network
  }
  const at = (network: NodeNetwork, channel: 'rpc' | 'lan' | 'wan'): Address => ({
    host: '127.0.0.1',
    port: network.ports[channel]!,
  })
  /** The next `count` frames of a channel. */
  const frames = (network: NodeNetwork, count: number, channel: 'rpc' | 'lan' = 'rpc') =>
    new Promise<string[]>((resolve) => {
      const received: string[] = []
      network.onFrame(channel, (bytes) => {
        received.push(text(bytes))
        if (received.length === count) resolve(received)
      })
    })

  afterEach(async () => {
    for (const one of opened.splice(0)) await one.close()
    assert.deepEqual(halts.splice(0), [])
  })

  it('carries frames in order over one connection, and answers come back on it', async () => {
    const [a, b] = [await open(), await open()]
    b.onFrame('rpc', (bytes, reply) => reply(Buffer.from(`re ${text(bytes)}`)))
    const answers = frames(a, 100)
    for (let sent = 0; sent < 100; sent++) a.frame('rpc', at(b, 'rpc'), Buffer.from(`frame ${sent}`))
    assert.deepEqual(
      await answers,
      Array.from({ length: 100 }, (_, sent) => `re frame ${sent}`),
    )
  })

  it('carries the longest frame, and refuses a longer one', async () => {
    const [a, b] = [await open(), await open()]
    const length = new Promise<number>((resolve) => b.onFrame('rpc', (bytes) => resolve(bytes.length)))
    a.frame('rpc', at(b, 'rpc'), Buffer.alloc(frameLengthMax))
    assert.equal(await length, frameLengthMax)
    assert.throws(() => a.frame('rpc', at(b, 'rpc'), Buffer.alloc(frameLengthMax + 1)), RangeError)
  })

  it('keeps channels apart, and has the same port for both protocols of one', async () => {
    const [a, b] = [await open({ rpc: loopback, lan: loopback, wan: loopback }), await open()]
    const received = new Promise<string>((resolve) => b.onDatagram('lan', (bytes) => resolve(text(bytes))))
    b.onFrame('rpc', () => assert.fail('a frame of the lan channel arrived at rpc'))
    const lan = frames(b, 1, 'lan')
    a.datagram('lan', at(b, 'lan'), Buffer.from('datagram'))
    a.frame('lan', at(b, 'lan'), Buffer.from('frame'))
    assert.equal(await received, 'datagram')
    assert.deepEqual(await lan, ['frame'])
    assert.equal(new Set(Object.values(a.ports)).size, 3)
  })

  it('says where bytes seem to come from, for those who look at a log', async () => {
    const [a, b] = [await open({ lan: loopback }), await open()]
    const datagramFrom = new Promise<unknown>((resolve) => b.onDatagram('lan', (_bytes, from) => resolve(from)))
    const frameFrom = new Promise<unknown>((resolve) =>
      b.onFrame('lan', (_bytes, reply, from) => {
        reply(Buffer.from('here'))
        resolve(from)
      }),
    )
    const answerFrom = new Promise<unknown>((resolve) => a.onFrame('lan', (_bytes, _reply, from) => resolve(from)))
    a.datagram('lan', at(b, 'lan'), Buffer.from('datagram'))
    a.frame('lan', at(b, 'lan'), Buffer.from('frame'))
    assert.equal(await datagramFrom, `127.0.0.1:${a.ports.lan}`)
    assert.match(String(await frameFrom), /^127\.0\.0\.1:\d+$/)
    assert.equal(await answerFrom, `127.0.0.1:${b.ports.lan}`)
  })

  it('says that a frame failed when nobody listens, and connects anew with the next', async () => {
    const a = await open()
    const gone = await open()
    const address = at(gone, 'rpc')
    await gone.close()
    const reason = await new Promise<Error>((resolve) => a.frame('rpc', address, Buffer.from('lost'), resolve))
    assert.match(reason.message, /ECONNREFUSED/)
    const b = await open({ rpc: address })
    const received = frames(b, 1)
    a.frame('rpc', address, Buffer.from('found'))
    assert.deepEqual(await received, ['found'])
  })

  it('connects anew after the other side was started again', async () => {
    const a = await open()
    const first = await open()
    const address = at(first, 'rpc')
    const before = frames(first, 1)
    a.frame('rpc', address, Buffer.from('one'))
    await before
    await first.close()
    const second = await open({ rpc: address })
    const received: string[] = []
    second.onFrame('rpc', (bytes) => received.push(text(bytes)))
    for (let sent = 0; received.length === 0; sent++) {
      assert.ok(sent < 1000, 'no frame arrived')
      a.frame('rpc', address, Buffer.from('two'))
      await new Promise((resolve) => setImmediate(resolve))
    }
    assert.equal(received[0], 'two')
  })

  it('gives up a connection on which nobody answers, by a reset that throws away what is on the way', async () => {
    // Accepts and reads, but is none of ours: the empty frame is never answered, as on a host that vanished.
    const silent: Server = createServer((socket) => socket.resume())
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    const { port } = silent.address() as AddressInfo
    const a = await open({ rpc: loopback }, { silenceMax: 100 })
    const ended = new Promise<string | undefined>((resolve) =>
      silent.on('connection', (socket) => {
        socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code))
        socket.on('end', () => resolve('orderly'))
      }),
    )
    a.frame('rpc', { host: '127.0.0.1', port }, Buffer.from('anybody?'))
    assert.equal(await ended, 'ECONNRESET')
    await new Promise((resolve) => silent.close(resolve))
  })

  it('says at once that a connection is gone, so that nobody waits for an answer on it', async () => {
    const [a, b] = [await open(), await open()]
    const address = at(b, 'rpc')
    const received = frames(b, 1)
    const lost = new Promise<Address>((resolve) => a.onLost('rpc', resolve))
    a.frame('rpc', address, Buffer.from('a question'))
    await received
    await b.close()
    assert.deepEqual(await lost, address)
  })

  it('says of a connection that could not be made only that its frames did not leave', async () => {
    const [a, b] = [await open(), await open()]
    const address = at(b, 'rpc')
    await b.close()
    a.onLost('rpc', () => assert.fail('nothing was lost: there was nothing'))
    const reason = await new Promise<NodeJS.ErrnoException>((resolve) =>
      a.frame('rpc', address, Buffer.from('x'), resolve),
    )
    assert.equal(reason.code, 'ECONNREFUSED')
  })

  for (const [who, act, reason] of [
    ['speaks HTTP', (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'), 'an HTTP server answered'],
    ['speaks SSH', (socket) => socket.write('SSH-2.0-x\r\n'), 'an SSH server answered'],
    ['speaks TLS', (socket) => socket.write(Buffer.of(0x15, 3, 1, 0, 2, 2, 40)), 'a TLS server answered'],
    ['says something else', (socket) => socket.write('* OK \u0001\n'), 'the answer began with "* OK .."'],
    ['hangs up', (socket) => socket.end(), 'the connection was closed without an answer'],
    ['says nothing', () => {}, 'nothing was answered within 0.2 s'],
  ] as [who: string, act: (socket: Socket) => void, reason: string][]) {
    it(`says of one who gossips with somebody who ${who} what that was; of a request nothing`, async () => {
      const sockets: Socket[] = []
      const strange = createServer((socket) => {
        sockets.push(socket)
        socket.on('error', () => {})
        act(socket)
      })
      await new Promise<void>((resolve) => strange.listen(0, '127.0.0.1', resolve))
      const to = { host: '127.0.0.1', port: (strange.address() as AddressInfo).port }
      const network = await open({ rpc: loopback, lan: loopback }, { silenceMax: 200 })
      const reasons: string[] = []
      network.frame('rpc', to, Buffer.from('request'), (error) => reasons.push(error.message))
      await new Promise<void>((resolve) => {
        network.frame('lan', to, Buffer.from('gossip'), (error) => {
          assert.equal(error.message, reason)
          resolve()
        })
      })
      assert.ok(!reasons.includes(reason), 'it left, and nobody knows what became of it')
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => strange.close(resolve))
    })
  }

  it('from a socket of IPv6 datagrams reach IPv4, and come back', async () => {
    const [wide, narrow] = [await open({ lan: { host: '::', port: 0 } }), await open({ lan: loopback })]
    const there = new Promise<string>((resolve) => narrow.onDatagram('lan', (bytes) => resolve(text(bytes))))
    const back = new Promise<string>((resolve) => wide.onDatagram('lan', (bytes) => resolve(text(bytes))))
    wide.datagram('lan', at(narrow, 'lan'), Buffer.from('there'))
    assert.equal(await there, 'there')
    narrow.datagram('lan', at(wide, 'lan'), Buffer.from('back'))
    assert.equal(await back, 'back')
  })

  it('does not keep more than its limit for one who does not read', async () => {
    const deaf: Server = createServer((socket) => socket.pause().on('error', () => {}))
    await new Promise<void>((resolve) => deaf.listen(0, '127.0.0.1', resolve))
    const { port } = deaf.address() as AddressInfo
    const a = await open({ rpc: loopback }, { queueBytesMax: 256 * 1024 })
    const reason = await new Promise<Error>((resolve) => {
      for (let sent = 0; sent < 10; sent++) {
        a.frame('rpc', { host: '127.0.0.1', port }, Buffer.alloc(128 * 1024), resolve)
      }
    })
    assert.match(reason.message, /too many bytes wait for 127\.0\.0\.1/)
    await a.close()
    await new Promise((resolve) => deaf.close(resolve))
  })

  it('answers together what asks in one go whether it still reads', async () => {
    const b = await open()
    b.onFrame('rpc', (_bytes, reply) => reply(Buffer.from('done')))
    const asked = 200_000
    const socket = connect(at(b, 'rpc')).pause()
    socket.write(Buffer.alloc(asked * frameHeader(Buffer.alloc(0)).length))
    socket.write(Buffer.concat([frameHeader(Buffer.from('last')), Buffer.from('last')]))
    let answered = Buffer.alloc(0)
    socket.on('data', (bytes) => {
      answered = Buffer.concat([answered, bytes])
    })
    socket.resume()
    while (!answered.includes('done')) await once(socket, 'data')
    assert.ok(answered.length > 'done'.length + 4, 'none of them was answered')
    assert.ok(answered.length < asked, `${answered.length} bytes of answers`)
    socket.destroy()
  })

  it('makes another connection for what comes while an idle one is being closed', async () => {
    // Answers whether it reads, and takes its time to close.
    const sockets: Socket[] = []
    const slow: Server = createServer({ allowHalfOpen: true }, (socket) => {
      sockets.push(socket)
      socket.on('error', () => {})
      socket.on('data', () => socket.write(frameHeader(Buffer.alloc(0))))
    })
    await new Promise<void>((resolve) => slow.listen(0, '127.0.0.1', resolve))
    const { port } = slow.address() as AddressInfo
    const ended = new Promise<void>((resolve) =>
      slow.once('connection', (socket: Socket) => socket.once('end', resolve)),
    )
    const a = await open({ rpc: loopback }, { silenceMax: 200, idleMax: 1 })
    a.frame('rpc', { host: '127.0.0.1', port }, Buffer.from('one'))
    await ended
    const second = new Promise<string>((resolve, reject) => {
      slow.once('connection', (socket: Socket) => socket.once('data', () => resolve('arrived')))
      a.frame('rpc', { host: '127.0.0.1', port }, Buffer.from('two'), reject)
    })
    assert.equal(await second, 'arrived')
    for (const socket of sockets) socket.destroy()
    await a.close()
    await new Promise((resolve) => slow.close(resolve))
  })

  it('ends a connection that does not speak in frames, and serves the others', async () => {
    const [a, b] = [await open(), await open()]
    const stranger = connect(at(b, 'rpc'))
    const closed = new Promise<void>((resolve) => stranger.on('close', () => resolve()))
    stranger.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    await closed
    const received = frames(b, 1)
    a.frame('rpc', at(b, 'rpc'), Buffer.from('hello'))
    assert.deepEqual(await received, ['hello'])
  })

  it('waits for frames that come byte by byte', async () => {
    const b = await open()
    const received = frames(b, 1)
    const socket = connect({ ...at(b, 'rpc'), noDelay: true })
    for (const byte of Buffer.concat([frameHeader(Buffer.from('slow')), Buffer.from('slow')]))
      socket.write(Buffer.of(byte))
    assert.deepEqual(await received, ['slow'])
    socket.destroy()
  })

  it('lets written frames leave before it closes', async () => {
    const [a, b] = [await open(), await open()]
    const first = frames(b, 1)
    a.frame('rpc', at(b, 'rpc'), Buffer.from('connect'))
    await first
    const received = frames(b, 50)
    for (let sent = 0; sent < 50; sent++) a.frame('rpc', at(b, 'rpc'), Buffer.alloc(20_000, 65))
    await a.close()
    assert.equal((await received).length, 50)
  })

  it('halts the node when a receiver throws', async () => {
    const [a, b] = [await open(), await open()]
    b.onFrame('rpc', () => {
      throw new Error('broken invariant')
    })
    a.frame('rpc', at(b, 'rpc'), Buffer.from('x'))
    for (let waited = 0; halts.length === 0; waited++) {
      assert.ok(waited < 100_000)
      await new Promise((resolve) => setImmediate(resolve))
    }
    assert.equal(halts.splice(0)[0]!.message, 'broken invariant')
  })

  it('names channel, address and option when a port is taken', async () => {
    const a = await open({ rpc: loopback, lan: loopback, wan: loopback })
    for (const [channel, option] of [
      ['rpc', '-server-port'],
      ['lan', '-serf-lan-port'],
      ['wan', '-serf-wan-port'],
    ] as const) {
      const port = a.ports[channel]
      await assert.rejects(open({ [channel]: { host: '127.0.0.1', port } }), {
        name: 'BadRequest',
        message: `cannot listen on 127.0.0.1:${port} (tcp) for ${channel}: the port is taken; stop what has it, or choose another with ${option}`,
      })
    }
    const udp = createSocket('udp4')
    await new Promise<void>((resolve) => udp.bind(0, '127.0.0.1', resolve))
    const { port } = udp.address()
    await assert.rejects(
      open({ lan: { host: '127.0.0.1', port } }),
      new RegExp(`127.0.0.1:${port} \\(udp\\) for lan: the port is taken`),
    )
    udp.close()
    await assert.rejects(
      open({ rpc: { host: '192.0.2.1', port: 0 } }),
      /no interface of this machine has that address; choose one with -bind/,
    )
  })
})
