import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { existsSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import { promisify } from 'node:util'
import { storeOf } from '../../test/api/catalog.ts'
import { digQuery } from '../../test/api/dig.ts'
import type { LogLevel } from '../io/io.ts'
import { Random } from '../io/random.ts'
import type { Millis } from '../model.ts'
import { decode, encode } from './codec.ts'
import { type Message, rcodes, record } from './message.ts'
import { type DnsOptions, dnsDefaults } from './options.ts'
import { type DnsServer, dnsServer } from './server.ts'

const store = storeOf([
  ...['10.0.77.22', '10.0.77.16', '10.0.77.17'].map((address, at) => ({
    Node: `host${at + 1}`,
    Address: address,
    Service: { Service: 'consul', Port: 8300 },
  })),
  { Node: 'host1', Address: '10.0.77.22', Service: { ID: 's1', Service: 'distributed_app', Port: 2001 } },
  { Node: 'host1', Address: '10.0.77.22', Service: { ID: 's2', Service: 'distributed_app', Port: 2002 } },
])

describe('a listening DNS server', () => {
  const servers: { close(): unknown }[] = []
  let logged: { level: LogLevel; message: string }[] = []
  beforeEach(() => {
    logged = []
  })
  afterEach(async () => {
    for (const server of servers.splice(0)) await server.close()
  })

  async function start(
    options: Partial<DnsOptions> = {},
    listen: { hosts?: string[]; port?: number; tcpIdle?: Millis } = {},
  ): Promise<{ server: DnsServer; port: number }> {
    const log = (level: LogLevel, _area: string, message: string) => {
      logged.push({ level, message })
    }
    const server = await dnsServer(
      { view: store },
      { hosts: ['127.0.0.1'], port: 0, ...listen },
      { ...dnsDefaults, ...options },
      { random: new Random(1), log, clock: { now: () => 0, wall: () => 0 } },
    )
    servers.push(server)
    return { server, port: server.addresses()[0]?.port ?? 0 }
  }

  const packetOf = (dig: string, id = 1) => encode({ ...digQuery(dig).query, id })

  /** Over UDP, from a socket that hears nobody but whom it asked. */
  function ask(port: number, dig: string | Uint8Array, host = '127.0.0.1'): Promise<Message> {
    return new Promise((resolve, reject) => {
      const socket = createSocket('udp4')
      socket.on('error', reject)
      socket.on('message', (packet) => {
        socket.close()
        resolve(decode(packet) as Message)
      })
      socket.connect(port, host, () => socket.send(typeof dig === 'string' ? packetOf(dig) : dig))
    })
  }

  /** A TCP connection and what came over it. */
  function open(
    port: number,
    host = '127.0.0.1',
  ): Promise<{ socket: Socket; messages: Message[]; closed: Promise<void> }> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host, allowHalfOpen: true })
      const messages: Message[] = []
      let received = Buffer.alloc(0)
      socket.on('data', (bytes) => {
        received = Buffer.concat([received, bytes])
        while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
          const end = 2 + received.readUInt16BE(0)
          messages.push(decode(received.subarray(2, end)) as Message)
          received = received.subarray(end)
        }
      })
      const closed = new Promise<void>((ended) => {
        socket.on('end', ended)
        socket.on('close', () => ended())
      })
      socket.on('error', reject)
      socket.on('connect', () => resolve({ socket, messages, closed }))
    })
  }
  const framed = (packet: Uint8Array) => Buffer.concat([Buffer.from([packet.length >> 8, packet.length & 255]), packet])

  it('answers over UDP and TCP on the same port', async () => {
    const { port } = await start()
    assert.equal((await ask(port, 'consul.service.consul')).answers.length, 3)
    const { socket, messages, closed } = await open(port)
    socket.end(framed(packetOf('consul.service.consul')))
    await closed
    assert.deepEqual(
      messages.map(({ answers }) => answers.length),
      [3],
    )
    assert.deepEqual(
      logged.map(({ message }) => message),
      ['Started DNS server', 'Started DNS server'],
    )
  })

  it('answers from the address that was asked', async () => {
    const hosts = ['127.0.0.1', '127.0.77.22']
    const { server, port } = await start({}, { hosts })
    assert.deepEqual(
      server.addresses(),
      hosts.map((host) => ({ host, port })),
    )
    for (const host of hosts) assert.equal((await ask(port, 'host1.node.consul', host)).answers.length, 1)
  })

  it('listens on every interface’s own address, when told to listen on all', async () => {
    const { server, port } = await start({}, { hosts: ['0.0.0.0'] })
    const own = Object.values(networkInterfaces())
      .flatMap((addresses) => addresses ?? [])
      .filter(({ family }) => family === 'IPv4')
      .map(({ address }) => address)
    assert.deepEqual(
      server
        .addresses()
        .map(({ host }) => host)
        .sort(),
      [...new Set(own)].sort(),
    )
    assert.equal((await ask(port, 'host1.node.consul')).answers.length, 1)
  })

  it('listens on the addresses that are free, when told to listen on all and a stub resolver has one', async () => {
    const stub = createServer()
    const port = await listen(stub, '127.0.0.1')
    servers.push(stub)
    const hasOthers = Object.values(networkInterfaces())
      .flat()
      .some((at) => at?.family === 'IPv4' && !at.internal)
    if (hasOthers) {
      const { server } = await start({}, { hosts: ['0.0.0.0'], port })
      assert.ok(!server.addresses().some(({ host }) => host === '127.0.0.1'))
      assert.ok(logged.some(({ level, message }) => level === 'warn' && message.includes(`127.0.0.1:${port}`)))
    } else {
      await assert.rejects(start({}, { hosts: ['0.0.0.0'], port }), /127\.0\.0\.1/)
    }
  })

  it('says which address is taken and what to do, over TCP and over UDP', async () => {
    const tcp = createServer()
    const tcpPort = await listen(tcp, '127.0.0.1')
    servers.push(tcp)
    const says = new RegExp(`127\\.0\\.0\\.1:${tcpPort} \\(tcp\\): something else listens there.*-dns-port`)
    await assert.rejects(start({}, { port: tcpPort }), says)

    const udp = createSocket('udp4')
    const udpPort = await new Promise<number>((bound) => udp.bind(0, '127.0.0.1', () => bound(udp.address().port)))
    servers.push(udp)
    await assert.rejects(start({}, { port: udpPort }), new RegExp(`127\\.0\\.0\\.1:${udpPort} \\(udp\\): something`))
    // And it let go of what it had already.
    udp.close()
    servers.pop()
    await start({}, { port: udpPort })
  })

  it('says so, when no interface has the address', async () => {
    await assert.rejects(start({}, { hosts: ['192.0.2.1'] }), /192\.0\.2\.1.*no interface of this machine/)
  })

  it('survives packets that are no questions', async () => {
    const { port } = await start()
    const socket = createSocket('udp4')
    await new Promise<void>((connected) => socket.connect(port, '127.0.0.1', connected))
    for (let at = 0; at < 200; at++) socket.send(Buffer.alloc(at, at))
    await new Promise((sent) => socket.send(Buffer.alloc(1400, 0xc0), sent))
    socket.close()
    assert.equal((await ask(port, 'host1.node.consul')).answers.length, 1)
    assert.equal((await ask(port, Buffer.from(packetOf('host1.node.consul')).subarray(0, 20))).rcode, rcodes.FORMERR)
  })

  it('answers every question of a pipeline, however it is cut into pieces', async () => {
    const { port } = await start()
    const { socket, messages, closed } = await open(port)
    const questions = Array.from({ length: 500 }, (_, id) => framed(packetOf('consul.service.consul SRV', id)))
    const stream = Buffer.concat(questions)
    for (let at = 0; at < stream.length; at += 777) socket.write(stream.subarray(at, at + 777))
    socket.end()
    await closed
    assert.deepEqual(
      messages.map(({ id }) => id),
      Array.from({ length: 500 }, (_, id) => id),
    )
  })

  it('closes a connection on which it does not understand a word', async () => {
    const { port } = await start()
    const { socket, messages, closed } = await open(port)
    socket.write(framed(Buffer.from('GET')))
    await closed
    assert.deepEqual(messages, [])
  })

  it('closes a connection that asks nothing, also one that does so octet by octet', async () => {
    const { port } = await start({}, { tcpIdle: 30 })
    const quiet = await open(port)
    const slow = await open(port)
    const drip = setInterval(() => slow.socket.write(Buffer.from([1])), 10)
    slow.socket.on('error', () => {})
    await Promise.all([quiet.closed, slow.closed])
    clearInterval(drip)
  })

  it('ends connections and waiting questions when it closes', async () => {
    const silent = createSocket('udp4')
    const silentPort = await new Promise<number>((bound) =>
      silent.bind(0, '127.0.0.1', () => bound(silent.address().port)),
    )
    servers.push(silent)
    const { server, port } = await start({ recursors: [`127.0.0.1:${silentPort}`], recursorTimeout: 60_000 })
    const { socket, closed } = await open(port)
    socket.on('error', () => {})
    const asked = new Promise((asked) => silent.once('message', asked))
    const client = createSocket('udp4')
    client.send(packetOf('www.example.com'), port, '127.0.0.1')
    await asked
    client.close()
    servers.splice(servers.indexOf(server), 1)
    await server.close()
    await closed
    assert.ok(!logged.some(({ level }) => level === 'error'))
    await start({}, { port })
  })

  describe('with recursors', () => {
    const answers = [record(['www', 'example', 'com'], 77, { type: 'A', address: '203.0.113.7' })]

    /** A recursor on loopback, TCP and UDP, that answers as told. */
    async function recursor(reply: (query: Message) => Partial<Message>): Promise<string> {
      const tcp = createServer((socket) => {
        socket.on('error', () => {})
        socket.on('data', (bytes) => socket.end(framed(answer(bytes.subarray(2)))))
      })
      const answer = (packet: Uint8Array) => {
        const query = decode(packet) as Message
        return encode({ ...query, response: true, ...reply(query) })
      }
      const port = await listen(tcp, '127.0.0.1')
      const udp = createSocket('udp4')
      udp.on('message', (packet, from) => udp.send(answer(packet), from.port, from.address))
      await new Promise<void>((bound) => udp.bind(port, '127.0.0.1', bound))
      servers.push(tcp, udp)
      return `127.0.0.1:${port}`
    }

    it('passes questions on, over UDP and TCP', async () => {
      const { port } = await start({ recursors: [await recursor(() => ({ answers }))] })
      assert.deepEqual((await ask(port, 'www.example.com')).answers, answers)
      const { socket, messages, closed } = await open(port)
      socket.end(framed(packetOf('www.example.com')))
      await closed
      assert.deepEqual(messages[0]?.answers, answers)
    })

    it('goes on to the next, when one is not there', async () => {
      const gone = createSocket('udp4')
      const gonePort = await new Promise<number>((bound) => gone.bind(0, '127.0.0.1', () => bound(gone.address().port)))
      gone.close()
      const recursors = [`127.0.0.1:${gonePort}`, await recursor(() => ({ answers }))]
      const { port } = await start({ recursors, recursorTimeout: 60_000 })
      assert.equal((await ask(port, 'www.example.com')).answers.length, 1)
    })

    it('hears no one who has another id', async () => {
      const forger = await recursor(({ id }) => ({ id: id ^ 1, answers }))
      const { port } = await start({ recursors: [forger], recursorTimeout: 50 })
      assert.equal((await ask(port, 'www.example.com')).rcode, rcodes.SERVFAIL)
    })

    it('answers SERVFAIL once and sends one packet, when the recursor is itself', async () => {
      // A port that is free on one address of loopback is free on another.
      const { port } = await start()
      const host = '127.0.77.1'
      await start({ recursors: [`${host}:${port}`], recursorTimeout: 50 }, { hosts: [host], port })
      assert.equal((await ask(port, 'www.example.com', host)).rcode, rcodes.SERVFAIL)
      const { socket, messages, closed } = await open(port, host)
      socket.end(framed(packetOf('www.example.com')))
      await closed
      assert.equal(messages[0]?.rcode, rcodes.SERVFAIL)
      assert.equal(logged.filter(({ message }) => message === 'recursor failed').length, 2)
    })

    it('answers its own names on a connection while a recursor thinks', async () => {
      const silent = createServer(() => {})
      const silentPort = await listen(silent, '127.0.0.1')
      servers.push(silent)
      const { port } = await start({ recursors: [`127.0.0.1:${silentPort}`], recursorTimeout: 200 })
      const { socket, messages, closed } = await open(port)
      socket.end(Buffer.concat([framed(packetOf('www.example.com', 1)), framed(packetOf('host1.node.consul', 2))]))
      await closed
      assert.deepEqual(
        messages.map(({ id, rcode }) => [id, rcode]),
        [
          [2, rcodes.NOERROR],
          [1, rcodes.SERVFAIL],
        ],
      )
    })
  })

  if (existsSync('/usr/bin/dig')) {
    const dig = async (port: number, ...words: string[]) =>
      (await promisify(execFile)('/usr/bin/dig', ['@127.0.0.1', '-p', String(port), '+tries=1', ...words])).stdout

    it('prints in dig what the book prints', async () => {
      const { port } = await start({ recursors: ['192.0.2.1'] })
      const printed = await dig(port, 'consul.service.consul')
      assert.match(printed, /;; flags: qr aa rd ra; QUERY: 1, ANSWER: 3,/)
      for (const address of ['10.0.77.22', '10.0.77.16', '10.0.77.17']) {
        assert.match(printed, new RegExp(`^consul\\.service\\.consul\\.\\s0\\sIN\\sA\\s${address}$`, 'm'))
      }
      assert.ok(!printed.includes('WARNING'))
      assert.equal(await dig(port, '+short', 'distributed_app.service.consul'), '10.0.77.22\n')
      assert.equal(await dig(port, '+short', '-x', '10.0.77.16'), 'host2.node.dc1.consul.\n')
      const located = (await dig(port, '+short', '+tcp', 'distributed_app.service.consul', 'SRV')).trim().split('\n')
      assert.deepEqual(located.sort(), ['1 1 2001 host1.node.dc1.consul.', '1 1 2002 host1.node.dc1.consul.'])
    })

    it('agrees with dig on a version of EDNS', async () => {
      const { port } = await start()
      assert.match(await dig(port, '+edns=1', '+noednsneg', 'host1.node.consul'), /status: BADVERS/)
      assert.match(await dig(port, '+edns=1', 'host1.node.consul'), /status: NOERROR[\s\S]*version: 0/)
      assert.match(await dig(port, '+subnet=10.2.0.0/24', 'host1.node.consul'), /CLIENT-SUBNET: 10\.2\.0\.0\/24\/0/)
    })
  }
})

function listen(server: ReturnType<typeof createServer>, host: string): Promise<number> {
  return new Promise((bound) => {
    server.listen(0, host, () => {
      const address = server.address()
      bound(address !== null && typeof address === 'object' ? address.port : 0)
    })
  })
}
