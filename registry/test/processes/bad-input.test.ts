/**
 * What is configured wrongly, or was never meant for an agent: each is named with what was received, what was expected and
 * what to do, at the command line and in the log of both sides.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { cpSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { Cluster, type Host, run, until } from './cluster.ts'

const http = ({ address }: Host) => `-http-addr=${address}:8500`

async function serverOf(host: Host, ...words: string[]): Promise<void> {
  host.start('-server', '-bootstrap', ...words)
  await until('a leader', async () => (await host.leader()) !== '')
}

/** Ends with 1; resolves to what it said. */
async function refused(host: Host, ...words: string[]): Promise<string> {
  const agent = host.start(...words)
  const { code } = await agent.ended
  assert.equal(code, 1, agent.output)
  return agent.output
}

describe('an agent that does not belong', function () {
  this.timeout(60_000)
  let cluster: Cluster
  beforeEach(() => {
    cluster = new Cluster(3)
  })
  afterEach(() => cluster.end())

  it('into the datacenter', async () => {
    const [server, other] = cluster.hosts as [Host, Host]
    await serverOf(server)
    const words =
      'it is of datacenter "elsewhere" and this pool of "dc1": start it with -datacenter=dc1, or join servers with -join-wan'
    const output = await refused(other, '-datacenter=elsewhere', `-join=${server.address}`)
    assert.ok(output.includes(`Failed to join ${server.address}:8301: ${words}`), output)
    await server.process?.shows(/\[WARN\] serf: refused host2: it is of datacenter "elsewhere"/)
    // Asked for at the command line, of an agent that runs.
    await serverOf(other, '-datacenter=elsewhere')
    const joined = await run(['join', http(other), server.address])
    assert.equal(joined.code, 1)
    assert.ok(joined.output.includes(words), joined.output)
    assert.deepEqual(await server.members(), [server.name])
  })

  it('for it has another key, or none', async () => {
    const [server, other] = cluster.hosts as [Host, Host]
    const keys = [1, 2].map((byte) => Buffer.alloc(32, byte).toString('base64')) as [string, string]
    await serverOf(server, `-encrypt=${keys[0]}`)
    assert.match(await refused(other, `-encrypt=${keys[1]}`, `-join=${server.address}`), /Failed to join .*key/i)
    await server.process?.shows(/\[WARN\] .*key/i)
    assert.match(
      await refused(other, `-data-dir=${other.dataDir}-2`, `-join=${server.address}`),
      /Failed to join .*encrypt/i,
    )
    assert.match(await refused(other, '-encrypt=short'), /encrypt has invalid key/)
    assert.deepEqual(await server.members(), [server.name])
  })

  it('for its name is taken, whoever it joins: both addresses are in both logs', async () => {
    const [server, holder, twin] = cluster.hosts as [Host, Host, Host]
    await serverOf(server)
    holder.start(`-join=${server.address}`)
    await until('two members', async () => (await server.members()).length === 2)
    for (const [at, target] of [holder, server].entries()) {
      const output = await refused(twin, '-node=host2', `-data-dir=${twin.dataDir}-${at}`, `-join=${target.address}`)
      const words = `${holder.address}:8301 has it and ${twin.address}:8301 asks for it; give one another with -node`
      assert.ok(output.includes(`Failed to join ${target.address}:8301: the name "host2" is taken: ${words}`), output)
    }
    const both = new RegExp(`Conflicting address for host2: ${holder.address}:8301 and ${twin.address}:8301`)
    await holder.process?.shows(both)
    await server.process?.shows(both)
    // The first is not disturbed.
    await holder.put('still', 'here')
    assert.deepEqual((await server.members()).sort(), ['host1', 'host2'])
  })

  it('for its data directory was copied', async () => {
    const [server, holder, twin] = cluster.hosts as [Host, Host, Host]
    await serverOf(server)
    holder.start(`-join=${server.address}`)
    await until('two members', async () => (await server.members()).length === 2)
    await holder.nodeId()
    cpSync(holder.dataDir, join(cluster.folder, 'copy'), { recursive: true })
    const agent = twin.start(
      '-node=host2',
      `-data-dir=${join(cluster.folder, 'copy')}`,
      `-retry-join=${holder.address}`,
    )
    await agent.shows(
      new RegExp(
        `the agent "host2" at ${holder.address}:8301 lives and has the same node id; was its data directory copied`,
      ),
    )
    assert.deepEqual((await server.members()).sort(), ['host1', 'host2'])
    await agent.signal('SIGKILL')
    // Another name does not make it another node, whoever is joined. It looks on for those that its disk knows: what refuses
    // it may be old news of itself, as after a move.
    const renamed = twin.start(`-data-dir=${join(cluster.folder, 'copy')}`, `-join=${server.address}`)
    const words = `"host3" has the node id of "host2" at ${holder.address}:8301, which lives; was its data directory copied\\?`
    await renamed.shows(new RegExp(`join failed, going on with the \\d members known from before: .*${words}`, 's'))
    assert.deepEqual((await server.members()).sort(), ['host1', 'host2'])
    await server.process?.shows(/\[WARN\] serf: refused host3: "host3" has the node id of "host2"/)
  })
})

describe('a join of something that is no agent', function () {
  this.timeout(60_000)
  const cluster = new Cluster(3)
  const [server, client, strange] = cluster.hosts as [Host, Host, Host]
  const listening: Server[] = []
  const sockets: Socket[] = []
  const listen = (act: (socket: Socket) => void) =>
    new Promise<number>((resolve) => {
      const each = createServer((socket) => {
        sockets.push(socket)
        socket.on('error', () => {})
        act(socket)
      })
      listening.push(each)
      each.listen(0, strange.address, () => resolve((each.address() as AddressInfo).port))
    })
  before(async () => {
    await serverOf(server)
    client.start(`-join=${server.address}`)
    await until('two members', async () => (await server.members()).length === 2)
  })
  after(async () => {
    for (const socket of sockets) socket.destroy()
    for (const each of listening) each.close()
    await cluster.end()
  })
  const hint = 'expected the gossip port of an agent there, 8301 unless its -serf-lan-port says otherwise'
  const table: [title: string, target: () => Promise<string>, reason: string][] = [
    ['HTTP', async () => `${server.address}:8500`, `an HTTP server answered; ${hint}`],
    [
      'SSH',
      async () => `${strange.address}:${await listen((socket) => socket.write('SSH-2.0-OpenSSH_9.2p1\r\n'))}`,
      `an SSH server answered; ${hint}`,
    ],
    [
      'another banner',
      async () => `${strange.address}:${await listen((socket) => socket.write('220 mail ESMTP\r\n'))}`,
      `the answer began with "220 mail ESMTP.."; ${hint}`,
    ],
    [
      'somebody who says nothing',
      async () => `${strange.address}:${await listen(() => {})}`,
      `nothing was answered within 3 s; ${hint}`,
    ],
    [
      'somebody who hangs up',
      async () => `${strange.address}:${await listen((socket) => socket.end())}`,
      `the connection was closed without an answer; ${hint}`,
    ],
    ['nobody', async () => `${strange.address}:9`, 'connect: connection refused'],
    [
      'the WAN port of a server',
      async () => `${server.address}:8302`,
      '"host2" is of a LAN pool and this is a WAN port: join a gossip port (8301), or from a server with -wan',
    ],
    ['what is no address', async () => 'a b', 'expected an address as host:port, received "a b"'],
  ]
  for (const [title, target, reason] of table) {
    it(title, async () => {
      const where = await target()
      const { code, output } = await run(['join', http(client), where])
      assert.equal(code, 1, output)
      assert.ok(output.includes(reason), output)
      assert.ok(output.includes(`Error joining address '${where}'`), output)
      assert.deepEqual((await client.members()).sort(), ['host1', 'host2'])
    })
  }

  it('the WAN pool joined at a LAN port', async () => {
    const { code, output } = await run(['join', '-wan', http(server), `${client.address}:8301`])
    assert.equal(code, 1, output)
    assert.match(
      output,
      /"host1\.dc1" is of the WAN pool and this is a LAN port: join the WAN port of a server \(8302\)/,
    )
  })
})

describe('garbage on the ports of an agent', function () {
  this.timeout(60_000)
  const cluster = new Cluster(1)
  const [host] = cluster.hosts as [Host]
  before(() => serverOf(host))
  after(() => cluster.end())
  const send = (port: number, bytes: Uint8Array) =>
    new Promise<void>((resolve) => {
      const socket = connect(port, host.address, () => socket.end(bytes))
      socket.on('error', () => {})
      socket.on('close', () => resolve())
      socket.resume()
    })
  /** As one frame, so that it gets further. */
  const framed = (body: Uint8Array) => {
    const frame = Buffer.alloc(4 + body.length)
    frame.writeUInt32BE(body.length)
    frame.set(body, 4)
    return frame
  }

  it('however much of it, is a line for each kind and port', async () => {
    const udp = createSocket('udp4')
    for (let round = 0; round < 100; round++) {
      const noise = randomBytes(100)
      // A length that no frame has: the first byte says 16 MiB or more.
      noise[0] = 0xff
      const sent: Promise<void>[] = []
      for (const port of [8300, 8301, 8302]) {
        sent.push(
          send(port, noise),
          send(port, framed(noise)),
          send(port, framed(Buffer.concat([Buffer.of(round % 4), noise]))),
        )
      }
      for (const port of [8301, 8302]) udp.send(noise, port, host.address)
      await Promise.all(sent)
    }
    await new Promise<void>((resolve) => udp.close(resolve))
    await host.put('after', 'noise')
    const warnings = (host.process?.output ?? '').split('\n').filter((line) => line.includes('[WARN]'))
    const noisy = warnings.filter((line) => /dropped|closed|not an agent/.test(line))
    assert.ok(noisy.some((line) => /network: connection with .* closed: not an agent, or damaged bytes/.test(line)))
    assert.ok(noisy.some((line) => /serf: dropped a datagram/.test(line)))
    assert.ok(noisy.some((line) => /serf: dropped a frame/.test(line)))
    assert.ok(noisy.some((line) => /rpc: dropped/.test(line)))
    assert.ok(noisy.length <= 15, `${noisy.length} lines for 1100 pieces of garbage:\n${noisy.join('\n')}`)
  })
})

describe('an address that is advertised or bound', function () {
  this.timeout(60_000)
  const cluster = new Cluster(3)
  const [host, server, nobody] = cluster.hosts as [Host, Host, Host]
  after(() => cluster.end())

  it('cannot be everybody', async () => {
    for (const address of ['0.0.0.0', '::', '[::]']) {
      const output = await refused(host, `-advertise=${address}`)
      assert.match(
        output,
        /Advertise address cannot be 0\.0\.0\.0, :: or \[::\] \(advertise_addr is .*\); give the one/,
      )
    }
    assert.match(await refused(host, '-server', '-advertise-wan=::'), /\(advertise_addr_wan is ::\)/)
  })

  it('must be one, or a template that finds one', async () => {
    for (const [given, reason] of [
      ['-bind=here', /bind_addr: expected an IP address or one of \{\{ GetPrivateIP \}\}.*received "here"/],
      ['-bind=10.0.0.1 10.0.0.2', /bind_addr cannot contain multiple addresses, received "10\.0\.0\.1 10\.0\.0\.2"/],
      [
        '-bind={{ GetInterfaceIP "none0" }}',
        /bind_addr: \{\{ GetInterfaceIP "none0" \}\} names no address of this host, which has /,
      ],
      [
        '-advertise={{ GetAnything }}',
        /advertise_addr: expected one of \{\{ GetPrivateIP \}\}.*received "\{\{ GetAnything \}\}"/,
      ],
      ['-client={{ GetAnything }}', /client_addr: expected one of \{\{ GetPrivateIP \}\}/],
    ] as const) {
      assert.match(await refused(host, given), reason)
    }
    const elsewhere = await refused(host, '-bind=192.0.2.250', '-advertise=192.0.2.250')
    assert.match(
      elsewhere,
      /cannot listen on 192\.0\.2\.250:8301 \(tcp\).*no interface of this machine has that address.*-bind/,
    )
  })

  it('that nobody has is said at the start, and on both sides when nobody gets through to it', async () => {
    const agent = host.start('-server', '-bootstrap', `-advertise=${nobody.address}`)
    await until('a leader', async () => (await host.leader()) !== '')
    server.start(`-join=${host.address}`)
    await server.process?.shows(/Suspect host1 has failed, no acks received/)
    await agent.shows(
      new RegExp(
        `\\[WARN\\] serf: Refuting a suspicion: others got no answer from this agent at ${nobody.address}:8301; .*-advertise`,
      ),
    )
    await agent.signal('SIGTERM')
    await server.process?.signal('SIGKILL')
    const note = host.start('-advertise=192.0.2.250', `-data-dir=${host.dataDir}-2`)
    await note.shows(
      /\[INFO\] agent: no interface of this host has the advertised address 192\.0\.2\.250: .*published ports or a NAT/,
    )
    await note.signal('SIGTERM')
  })

  it('of another kind than the one bound, or of the loopback, is a warning', async () => {
    const first = 10_000 + ((3 * process.pid) % 20_000)
    const wide = host.start(
      '-bind=::1',
      `-serf-lan-port=${first}`,
      `-advertise=${host.address}`,
      `-data-dir=${host.dataDir}-3`,
    )
    await wide.shows(
      /\[WARN\] agent: the advertised address .* is of another kind than ::1, which this agent listens on/,
    )
    await wide.signal('SIGTERM')
    const all = host.start(
      '-bind=0.0.0.0',
      `-serf-lan-port=${first}`,
      `-advertise=${host.address}`,
      `-data-dir=${host.dataDir}-3`,
    )
    await all.shows(
      /\[WARN\] agent: the advertised address .* is a loopback address: only agents on this host reach this one/,
    )
    await all.signal('SIGTERM')
  })

  it('whose port is taken', async () => {
    const taken = createSocket('udp4')
    await new Promise<void>((resolve) => taken.bind(8301, host.address, resolve))
    const output = await refused(host, '-server', `-data-dir=${host.dataDir}-4`)
    await new Promise<void>((resolve) => taken.close(resolve))
    assert.ok(
      output.includes(
        `cannot listen on ${host.address}:8301 (udp) for lan: the port is taken; stop what has it, or choose another with -serf-lan-port`,
      ),
      output,
    )
  })
})
