import assert from 'node:assert/strict'
import { copyFileSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { Cluster, type Host, Process, program, run, until } from './cluster.ts'

/** Where Node was not brought into the repository it is the user's own, and must be found by PATH. */
const brought = existsSync(join(dirname(program), '../../.node'))
const barePath = brought ? '/usr/bin:/bin' : `${dirname(process.execPath)}:/usr/bin:/bin`

describe('the command line', function () {
  this.timeout(60_000)
  const cluster = new Cluster(3)
  const [server, spare, third] = cluster.hosts as [Host, Host, Host]
  const http = () => `-http-addr=${server.address}:8500`
  before(async () => {
    server.start('-server', '-bootstrap', '-rpc-port=8400')
    await until('a leader', async () => (await server.leader()) !== '')
  })
  after(() => cluster.end())

  it('the start-up text and the log are the old words, in order', async () => {
    await server.process?.shows(/Synced service 'consul'/)
    const { address } = server
    const wanted = [
      '==> WARNING: Bootstrap mode enabled! Do not enable unless necessary',
      '==> Starting Consul agent...',
      '==> Starting Consul agent RPC...',
      '==> Consul agent running!',
      "         Node name: 'host1'",
      "        Datacenter: 'dc1'",
      '            Server: true (bootstrap: true)',
      `       Client Addr: ${address} (HTTP: 8500, HTTPS: -1, DNS: 8600, RPC: 8400)`,
      `      Cluster Addr: ${address} (LAN: 8301, WAN: 8302)`,
      '    Gossip encrypt: false, RPC-TLS: false, TLS-Incoming: false',
      '==> Log data will now stream in as it occurs:',
      `[INFO] raft: Node at ${address}:8300 [Follower] entering Follower state`,
      `[INFO] serf: EventMemberJoin: host1 ${address}`,
      `[INFO] serf: EventMemberJoin: host1.dc1 ${address}`,
      '[ERR] agent: failed to sync remote state: No cluster leader',
      '[WARN] raft: Heartbeat timeout reached, starting election',
      '[INFO] raft: Election won. Tally: 1',
      `[INFO] raft: Node at ${address}:8300 [Leader] entering Leader state`,
      '[INFO] consul: cluster leadership acquired',
      '[INFO] consul: New leader elected: host1',
      "[INFO] consul: member 'host1' joined, marking health alive",
      "[INFO] agent: Synced service 'consul'",
    ]
    let rest = server.process?.output ?? ''
    for (const line of wanted) {
      const at = rest.indexOf(line)
      assert.notEqual(at, -1, `"${line}" is missing or out of order in:\n${server.process?.output}`)
      rest = rest.slice(at + line.length)
    }
  })

  it('kv put, get and delete', async () => {
    assert.deepEqual(await run(['kv', 'put', http(), 'foo', 'bar']), {
      code: 0,
      output: 'Success! Data written to: foo\n',
    })
    assert.deepEqual(await run(['kv', 'get', http(), 'foo']), { code: 0, output: 'bar\n' })
    assert.deepEqual(await run(['kv', 'put', http(), '-cas', '-modify-index=1', 'foo', 'q']), {
      code: 1,
      output: 'Error! Did not write to foo: CAS failed\n',
    })
    assert.match((await run(['kv', 'get', http(), '-detailed', 'foo'])).output, /^Key {14}foo$/m)
    assert.deepEqual(await run(['kv', 'get', http(), '-recurse']), { code: 0, output: 'foo:bar\n' })
    assert.deepEqual(await run(['kv', 'delete', http(), 'foo']), { code: 0, output: 'Success! Deleted key: foo\n' })
    assert.deepEqual(await run(['kv', 'get', http(), 'foo']), { code: 1, output: 'Error! No key exists at: foo\n' })
  })

  it('kv put takes and lets go of a lock', async () => {
    const created = await server.http('PUT', '/v1/session/create', '{"NodeChecks":[],"LockDelay":"0s"}')
    const { ID: id } = (await created.json()) as { ID: string }
    const put = (...words: string[]) => run(['kv', 'put', http(), ...words])
    assert.deepEqual(await put('-acquire', 'lk', 'v'), {
      code: 1,
      output: 'Error! Missing -session (required with -acquire and -release)\n',
    })
    assert.deepEqual(await put('-acquire', `-session=${id}`, 'lk', 'v'), {
      code: 0,
      output: 'Success! Lock acquired on: lk\n',
    })
    assert.match((await run(['kv', 'get', http(), '-detailed', 'lk'])).output, new RegExp(`^Session {10}${id}$`, 'm'))
    assert.deepEqual(await put('-release', '-session=another', 'lk', 'v'), {
      code: 1,
      output: 'Error! Did not release lock\n',
    })
    assert.deepEqual(await put('-release', `-session=${id}`, 'lk', 'v'), {
      code: 0,
      output: 'Success! Lock released on: lk\n',
    })
    await server.http('PUT', `/v1/session/destroy/${id}`)
    await server.http('DELETE', '/v1/kv/lk')
  })

  it('words that would do another thing than was meant do nothing', async () => {
    await run(['kv', 'put', http(), 'kept', 'x'])
    for (const [words, message] of [
      [['leave', http(), 'other-node'], /unexpected args: \[other-node\]/],
      [['kv', 'delete', http(), '-modify-index=1', 'kept'], /-modify-index without -cas/],
      [['kv', 'delete', http(), '-cas', '-modify-index=1', '-recurse', 'kept'], /both -cas and -recurse/],
      [['kv', 'put', http(), '-base64', 'kept', '!!'], /base 64/],
    ] as const) {
      const { code, output } = await run(words)
      assert.equal(code, 1, words.join(' '))
      assert.match(output, message)
    }
    assert.equal(await server.get('kept'), 'x')
    await server.http('DELETE', '/v1/kv/kept')
  })

  it('a debugger is not opened by a signal', async () => {
    server.process?.child.kill('SIGUSR1')
    server.process?.child.kill('SIGUSR2')
    assert.equal(await until('an answer', () => server.leader()), `${server.address}:8300`)
    assert.doesNotMatch(server.process?.output ?? '', /Debugger listening/)
  })

  it('members, info, and port 8400 by flag and by environment', async () => {
    const members = await run(['members', http()])
    assert.match(
      members.output,
      new RegExp(`^host1 +${server.address.replaceAll('.', '\\.')}:8301 +alive +server`, 'm'),
    )
    assert.deepEqual(await run(['members', `-rpc-addr=${server.address}:8400`]), members)
    assert.deepEqual(await run(['members'], program, { CONSUL_RPC_ADDR: `${server.address}:8400` }), members)
    assert.deepEqual(await run(['members'], program, { CONSUL_HTTP_ADDR: `${server.address}:8500` }), members)
    assert.match((await run(['info', http()])).output, /^raft:\n(\t.*\n)*\tstate = Leader$/m)
    assert.equal((await run(['members', http(), '-status=failed'])).code, 2)
  })

  it('what goes wrong is said in the old words', async () => {
    for (const [words, output] of [
      [['kv', 'put', http()], 'Error! Missing KEY argument\n'],
      [['kv', 'get', http()], 'Error! Missing KEY argument\n'],
      [['kv', 'put', http(), 'a', 'b', 'c'], 'Error! Too many arguments (expected 1 or 2, got 3)\n'],
      [['kv', 'put', http(), '-cas', 'a', 'b'], 'Must specify -modify-index with -cas!\n'],
      [['join', http()], 'At least one address to join must be specified.\n'],
      [['force-leave', http()], 'A single node name must be specified to force leave.\n'],
      [
        ['force-leave', http(), 'nope'],
        "Error force leaving: Unexpected response code: 500 (agent: No node found with name 'nope')\n",
      ],
    ] as const) {
      assert.deepEqual(await run(words), { code: 1, output }, words.join(' '))
    }
    const refused = await run(['join', http(), third.address])
    assert.ok(
      refused.output.startsWith(
        `Error joining address '${third.address}': Unexpected response code: 500 (1 error occurred:\n\t* Failed to join ${third.address}`,
      ),
      refused.output,
    )
    assert.equal(refused.output.match(/error occurred/g)?.length, 1, refused.output)
    assert.ok(refused.output.includes(`dial tcp ${third.address}:8301: connect: connection refused`), refused.output)
    assert.match((await run(['members', http(), '-segment=a'])).output, /Network segments are not supported/)
    assert.match((await run(['members', http(), '-detailed'])).output, /role=consul,segment=<all>,vsn=2/)
  })

  it('an agent that cannot be reached is named with its address', async () => {
    const { code, output } = await run(['members', `-http-addr=${spare.address}:8500`])
    assert.equal(code, 1)
    assert.ok(output.includes(`${spare.address}:8500`), output)
  })

  it('join and leave', async () => {
    spare.start()
    await until('the spare agent', () => spare.members())
    const at = `-http-addr=${spare.address}:8500`
    const joined = await run(['join', at, server.address])
    assert.deepEqual(joined, { code: 0, output: 'Successfully joined cluster by contacting 1 nodes.\n' })
    await until('two members', async () => (await server.members()).length === 2)
    const failed = await run(['join', at, third.address])
    assert.equal(failed.code, 1)
    assert.match(failed.output, /Error joining address '.*'[\s\S]*Failed to join any nodes\./)
    assert.deepEqual(await run(['leave', at]), { code: 0, output: 'Graceful leave complete\n' })
    assert.equal((await spare.process?.ended)?.code, 0)
  })

  it('answers to the name consul, through links, from any directory and with a bare PATH', async () => {
    const [one, two] = [join(cluster.folder, 'consul'), join(cluster.folder, 'links')]
    mkdirSync(two)
    symlinkSync(program, one)
    symlinkSync('../consul', join(two, 'consul'))
    for (const path of [one, join(two, 'consul')]) {
      const { code, output } = await run(['version'], path, { PATH: barePath })
      assert.equal(code, 0, output)
      assert.match(output, /^Consul v1\.8\.7\n/)
    }
    const agent = new Process(
      ['agent', '-data-dir', join(cluster.folder, 'c'), `-bind=${third.address}`, `-client=${third.address}`],
      one,
    )
    await agent.shows(/RPC: -1\)/)
    await agent.signal('SIGTERM')
  })

  it('in a clone nothing was installed in, it says what brings a Node and the packages', async () => {
    const clone = join(cluster.folder, 'clone')
    mkdirSync(join(clone, 'registry/bin'), { recursive: true })
    const copy = join(clone, 'registry/bin/registry')
    copyFileSync(program, copy)
    assert.deepEqual(await run(['version'], copy), {
      code: 1,
      output: 'registry: its packages are not installed. Run scripts/node.sh npm ci in the repository.\n',
    })
    mkdirSync(join(clone, 'node_modules'))
    // Everything the launcher needs but Node.
    const commands = join(clone, 'commands')
    mkdirSync(commands)
    for (const command of ['sh', 'basename', 'dirname', 'readlink']) {
      symlinkSync(`/usr/bin/${command}`, join(commands, command))
    }
    const { code, output } = await run(['version'], copy, { PATH: commands })
    assert.equal(code, 1)
    assert.match(output, /^registry: needs Node 22\.18 or newer; found none\. Run scripts\/node\.sh /)
  })

  it('unknown words show what there is', async () => {
    assert.equal((await run(['nonsense'])).code, 127)
    assert.match((await run(['members', '-nope'])).output, /flag provided but not defined: -nope/)
    assert.equal((await run(['kv'])).code, 1)
    assert.equal((await run(['agent', '-help'])).code, 0)
  })

  it('SIGTERM and SIGINT end a server with code 0', async () => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      const agent = third.start('-server', '-bootstrap')
      await until('a leader', async () => (await third.leader()) !== '')
      assert.deepEqual(await agent.signal(signal), { code: 0, signal: null })
    }
  })
})

describe('an agent that cannot start says why and ends with 1', function () {
  this.timeout(60_000)
  const cluster = new Cluster(2)
  const [host, other] = cluster.hosts as [Host, Host]
  after(() => cluster.end())
  async function refused(...words: string[]): Promise<string> {
    const agent = host.start(...words)
    const { code } = await agent.ended
    assert.equal(code, 1, agent.output)
    return agent.output
  }

  it('-bootstrap with -bootstrap-expect, and every other mistake beside it', async () => {
    const output = await refused('-server', '-bootstrap', '-bootstrap-expect=3', '-datacenter=a.b', '-nope')
    assert.match(output, /'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive/)
    assert.match(output, /datacenter cannot be "a\.b"/)
    assert.match(output, /not defined: -nope/)
  })

  it('a port that is taken', async () => {
    for (const [port, flag] of [
      [8500, '-http-port'],
      [8300, '-server-port'],
      [8301, '-serf-lan-port'],
      [8600, '-dns-port'],
    ] as const) {
      const taken = createServer()
      await new Promise<void>((resolve) => taken.listen(port, host.address, resolve))
      const output = await refused('-server', '-bootstrap')
      await new Promise((resolve) => taken.close(resolve))
      assert.ok(output.includes(`${host.address}:${port}`) && output.includes(flag), output)
    }
  })

  it('8400 taken and not asked for is one warning, asked for an error', async () => {
    const taken = createServer()
    await new Promise<void>((resolve) => taken.listen(8400, host.address, resolve))
    const output = await refused('-server', '-bootstrap', '-rpc-port=8400')
    assert.match(output, /8400.*-rpc-port/)
    const agent = host.start('-server', '-bootstrap')
    await until('a leader', async () => (await host.leader()) !== '')
    assert.match(agent.output, /RPC: -1\)/)
    assert.equal(agent.output.match(/\[WARN\].*8400/g)?.length, 1, agent.output)
    await agent.signal('SIGTERM')
    await new Promise((resolve) => taken.close(resolve))
  })

  it('a data directory that is none', async () => {
    const file = join(cluster.folder, 'file')
    writeFileSync(file, '')
    const output = await refused('-server', `-data-dir=${file}`)
    assert.ok(output.includes(file), output)
  })

  it('a data directory that another agent has', async () => {
    const agent = other.start('-server', '-bootstrap')
    await until('a leader', async () => (await other.leader()) !== '')
    const output = await refused(`-data-dir=${other.dataDir}`)
    assert.ok(output.includes(other.dataDir) && output.includes(String(agent.child.pid)), output)
    await agent.signal('SIGTERM')
  })

  it('a -join that nobody answers: a fresh agent ends, one that knows members warns and goes on', async () => {
    assert.match(await refused('-server', '-join=127.255.255.254:1'), /Failed to join 127\.255\.255\.254:1/)
    const server = other.start('-server', '-bootstrap')
    await until('a leader', async () => (await other.leader()) !== '')
    const first = host.start(`-join=${other.address}`)
    await until('two members', async () => (await host.members()).length === 2)
    // Known is what is on disk when the power goes.
    const nodeFile = join(host.dataDir, 'node.json')
    await until('the member on disk', () => readFileSync(nodeFile, 'utf8').includes(other.address))
    await first.signal('SIGKILL')
    const second = host.start('-join=127.255.255.254:1')
    await second.shows(/join failed, going on with the 1 members known from before/)
    await until('two members again', async () => (await host.members()).length === 2)
    await second.signal('SIGTERM')
    await server.signal('SIGTERM')
  })
})
