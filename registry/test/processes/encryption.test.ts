/** Encryption of gossip as an operator meets it: processes, the command line, files and logs. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Cluster, type Host, run, until } from './cluster.ts'

const newKey = () => randomBytes(32).toString('base64')
/** What nobody may read in the log of an agent while keys are changed. */
const troubles = /dropped what came in|not taken by|Suspect|MemberFailed|malformed|refutes/

const settledMembers = (hosts: readonly Host[]) =>
  until('everybody knows everybody', async () => {
    const seen = await Promise.all(hosts.map((host) => host.members().catch(() => [])))
    return seen.every((names) => names.length === hosts.length)
  })
const output = (host: Host) => host.process?.output ?? ''

describe('encryption of gossip', function () {
  this.timeout(90_000)
  const cluster = new Cluster(7)
  const members = cluster.hosts.slice(0, 5)
  const [first, second, , observer] = members as [Host, Host, Host, Host]
  const [plain, wrong] = cluster.hosts.slice(5) as [Host, Host]
  const http = `-http-addr=${first.address}:8500`
  const keyring = (...words: string[]) => run(['keyring', http, ...words])
  let key = newKey()
  const startAll = () => {
    for (const [at, host] of members.entries()) {
      const join = at === 0 ? [] : [`-retry-join=${first.address}`]
      host.start(...(at < 3 ? ['-server', ...(at === 0 ? ['-bootstrap-expect=3'] : [])] : []), '-encrypt', key, ...join)
    }
  }
  before(async () => {
    startAll()
    await until('a leader', async () => (await first.leader().catch(() => '')) !== '')
    await settledMembers(members)
  })
  after(() => cluster.end())

  it('is shown at the start, and its keys are kept where others cannot read them', async () => {
    for (const host of members) await host.process?.shows(/Gossip encrypt: true, RPC-TLS: false/)
    for (const file of ['local', 'remote']) {
      const path = join(first.dataDir, 'serf', `${file}.keyring`)
      assert.deepEqual(JSON.parse(readFileSync(path, 'utf8')), [key])
      assert.equal(statSync(path).mode & 0o777, 0o600)
    }
    const self = await (await first.http('GET', '/v1/agent/self')).text()
    assert.doesNotMatch(self, new RegExp(key.slice(0, 20).replaceAll('+', '\\+')))
    assert.match(self, /"encrypted":"true"/)
  })

  it('keygen makes a key, another one every time', async () => {
    const made = await Promise.all([run(['keygen']), run(['keygen'])])
    for (const { code, output: text } of made) {
      assert.equal(code, 0)
      assert.equal(Buffer.from(text, 'base64').length, 32)
      assert.match(text, /^[\w+/]{43}=\n$/)
    }
    assert.notEqual(made[0]?.output, made[1]?.output)
  })

  it('changes its keys by the command line while keys are written, and nobody notices', async () => {
    const before = members.map((host) => output(host).length)
    let writing = true
    let written = 0
    const writer = (async () => {
      for (; writing; written++) await (members[written % 5] as Host).put(`during/${written}`, 'x')
    })()
    for (let round = 0; round < 2; round++) {
      const [old, next] = [key, newKey()]
      key = next
      assert.deepEqual(await keyring('-install', next), {
        code: 0,
        output: '==> Installing new gossip encryption key...\n',
      })
      assert.match((await keyring('-list')).output, /dc1 \(LAN\):\n( {2}\S+ \[5\/5\]\n){2}$/)
      assert.equal((await keyring('-use', next)).code, 0)
      assert.match((await keyring('-list-primary')).output, /dc1 \(LAN\):\n {2}\S+ \[5\/5\]\n$/)
      assert.equal((await keyring('-remove', old)).code, 0)
    }
    assert.match(
      (await keyring('-list', '-local-only')).output,
      /^==> Gathering installed encryption keys...\n\ndc1 \(LAN\):\n {2}\S+ \[5\/5\]\n$/,
    )
    await until('more writes', () => written > 50)
    writing = false
    await writer
    for (const [at, host] of members.entries()) {
      assert.doesNotMatch(output(host).slice(before[at]), troubles)
      assert.equal((await host.members()).length, 5)
      assert.deepEqual(JSON.parse(readFileSync(join(host.dataDir, 'serf/local.keyring'), 'utf8')), [key])
    }
  })

  it('refuses what would cut somebody off, and says who', async () => {
    const primary = await keyring('-remove', key)
    assert.equal(primary.code, 1)
    assert.match(primary.output, /^\t\* dc1 \(LAN\) error: 5\/5 nodes reported failure$/m)
    assert.match(primary.output, /^\t\* host4: Removing the primary key is not allowed$/m)
    assert.match((await keyring('-use', newKey())).output, /^\t\* host5: Requested key is not in the keyring\)$/m)
    const asked = await run(['keyring', `-http-addr=${observer.address}:8500`, '-list'])
    assert.match(asked.output, /keyring operations must run against a server node/)
    for (const words of [[], ['-list', '-use=x'], ['-local-only', '-use=x'], ['-list', '-relay-factor=6']]) {
      assert.equal((await keyring(...words)).code, 1)
    }
  })

  it('who missed a key is named, and the key is not used before it has it', async () => {
    const next = newKey()
    observer.process?.child.kill('SIGSTOP')
    const installed = await keyring('-install', next)
    assert.equal(installed.code, 1)
    // Stopped for so long it counts as failed, or it does not answer: either way it is not counted.
    assert.match(installed.output, /host4: no answer from|4\/4|4\/5 nodes reported success/)
    observer.process?.child.kill('SIGCONT')
    await settledMembers(members)
    const used = await keyring('-use', next)
    assert.equal(used.code, 1)
    assert.match(used.output, /^\t\* dc1 \(LAN\) error: 1\/5 nodes reported failure$/m)
    assert.match(used.output, /^\t\* host4: Requested key is not in the keyring\)$/m)
    assert.equal((await keyring('-install', next)).code, 0)
    assert.equal((await keyring('-use', next)).code, 0)
    assert.equal((await keyring('-remove', key)).code, 0)
    key = next
  })

  it('an agent without the key does not get in, and both are told at once', async () => {
    const began = plain.start('-join', first.address)
    assert.equal((await began.ended).code, 1)
    assert.match(
      began.output,
      /Remote state is encrypted and encryption is not configured; start this agent with -encrypt/,
    )
    assert.doesNotMatch(began.output, /no answer within/)
    await first.process?.shows(
      /\[WARN\] serf: lan: dropped what came in: .*received an unencrypted packet.* from=127\./,
    )
    plain.start()
    await until('it runs', async () => (await plain.members()).length === 1)
    const joined = await run(['join', `-http-addr=${plain.address}:8500`, first.address])
    assert.equal(joined.code, 1)
    assert.match(joined.output, /Failed to join .*: Remote state is encrypted and encryption is not configured/)
    const other = await run(['join', http, plain.address])
    assert.match(other.output, /Encryption is configured but remote state is not encrypted: that agent has no key/)
    await plain.process?.shows(/dropped what came in: Remote state is encrypted and encryption is not configured/)
    const list = await keyring('-list')
    assert.match(list.output, /\[5\/5\]/)
    assert.equal((await first.members()).length, 5)
  })

  it('an agent with another key does not get in, and both are told at once', async () => {
    const began = wrong.start('-encrypt', newKey(), '-join', second.address)
    assert.equal((await began.ended).code, 1)
    assert.match(began.output, /No installed keys could decrypt the message; that agent has other keys than this one/)
    await second.process?.shows(/dropped what came in: No installed keys could decrypt the message/)
    assert.equal((await second.members()).length, 5)
  })

  it('a key that is none ends the start, with the reason', async () => {
    for (const [given, reason] of [
      ['abc', /^==> encrypt has invalid key: illegal base64 data at input byte 0; "registry keygen" makes one$/m],
      ['AAAA', /^==> encrypt has invalid key: key size must be 16, 24 or 32 bytes; /m],
    ] as const) {
      const { code, output: text } = await run(['agent', `-data-dir=${cluster.folder}/none`, '-encrypt', given])
      assert.equal(code, 1)
      assert.match(text, reason)
    }
  })

  it('an agent comes back with the keyring it kept, whatever key it is given', async () => {
    await observer.process?.signal('SIGKILL')
    observer.start('-encrypt', newKey(), `-retry-join=${first.address}`)
    await observer.process?.shows(/WARNING: LAN keyring exists but -encrypt given, using keyring/)
    await settledMembers(members)
    await observer.process?.signal('SIGKILL')
    observer.start(`-retry-join=${first.address}`)
    await observer.process?.shows(/Gossip encrypt: true/)
    await settledMembers(members)
  })
})

describe('encryption of gossip for a cluster that runs without', function () {
  this.timeout(90_000)
  const cluster = new Cluster(3)
  before(() => cluster.begin())
  after(() => cluster.end())

  it('comes in three steps, one agent after the other, and no member is lost', async () => {
    const key = newKey()
    const first = cluster.host(1)
    const listed = await run(['keyring', `-http-addr=${first.address}:8500`, '-list'])
    assert.equal(listed.code, 1)
    assert.match(listed.output, /^\t\* host2: Keyring is empty \(encryption not enabled\)$/m)
    for (const [incoming, outgoing] of [
      [false, false],
      [false, true],
      [true, true],
    ]) {
      const file = join(cluster.folder, `${incoming}${outgoing}.json`)
      writeFileSync(
        file,
        JSON.stringify({ encrypt: key, encrypt_verify_incoming: incoming, encrypt_verify_outgoing: outgoing }),
      )
      for (const host of cluster.hosts) {
        await host.process?.signal('SIGTERM')
        host.start('-server', `-config-file=${file}`)
        await until('it is back', async () => (await host.members().catch(() => [])).length === 3)
        await settledMembers(cluster.hosts)
        await cluster.settled()
      }
      await first.put(`${incoming}${outgoing}`, 'x')
    }
    for (const host of cluster.hosts) assert.doesNotMatch(output(host), /dropped what came in|not taken by/)
    const now = await run(['keyring', `-http-addr=${first.address}:8500`, '-list', '-local-only'])
    assert.match(now.output, /\[3\/3\]/)
  })
})

describe('encryption of gossip in two datacenters', function () {
  this.timeout(60_000)
  const cluster = new Cluster(3)
  const [here, there, beside] = cluster.hosts as [Host, Host, Host]
  const [old, next] = [newKey(), newKey()]
  after(() => cluster.end())

  it('has its keys changed everywhere from one server', async () => {
    here.start('-server', '-bootstrap', '-encrypt', old)
    await here.process?.shows(/Log data will now stream/)
    there.start('-server', '-bootstrap', '-datacenter=dc2', '-encrypt', old, `-join-wan=${here.address}`)
    await there.process?.shows(/Log data will now stream/)
    beside.start('-datacenter=dc2', '-encrypt', old, `-retry-join=${there.address}`)
    await settledMembers([there, beside])
    const keyring = (...words: string[]) => run(['keyring', `-http-addr=${here.address}:8500`, ...words])
    const listed = async (...keys: string[]) => {
      const { output: text } = await keyring('-list')
      const lines = (size: number) =>
        [...keys]
          .sort()
          .map((key) => `  ${key} [${size}/${size}]\n`)
          .join('')
      return (
        text ===
        `==> Gathering installed encryption keys...\n\nWAN:\n${lines(2)}\ndc1 (LAN):\n${lines(1)}\ndc2 (LAN):\n${lines(2)}`
      )
    }
    await until('both datacenters', () => listed(old))
    assert.equal((await keyring('-install', next)).code, 0)
    assert.ok(await listed(old, next))
    assert.equal((await keyring('-use', next)).code, 0)
    assert.equal((await keyring('-remove', old)).code, 0)
    assert.ok(await listed(next))
    for (const host of cluster.hosts) assert.doesNotMatch(output(host), troubles)
  })
})
