/** What agents tell each other and their users, with real processes: user events, the log as it comes, who is a member. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import Consul from 'consul'
import { Cluster, type Host, Process, run, until } from './cluster.ts'

interface Event {
  ID: string
  Name: string
  Payload: string | null
  LTime: number
}

describe('three servers and one agent beside them', function () {
  this.timeout(60_000)
  const cluster = new Cluster(4)
  const hosts = cluster.hosts as [Host, Host, Host, Host]
  const [first, second, third, aside] = hosts
  const at = (host: Host) => `-http-addr=${host.address}:8500`
  const clientOf = (host: Host) => new Consul({ host: host.address, port: 8500 })
  const listed = (host: Host, name: string) => host.json<Event[]>(`/v1/event/list?name=${name}`)

  before(async () => {
    for (const host of [first, second, third])
      host.start('-server', '-bootstrap-expect=3', `-retry-join=${first.address}`)
    aside.start(`-retry-join=${first.address}`)
    await until('a leader', async () => (await aside.leader().catch(() => '')) !== '')
    const all = async (host: Host) => (await host.json<unknown[]>('/v1/agent/members')).length === 4
    for (const host of hosts) await until(`all members at ${host.name}`, () => all(host))
  })
  after(() => cluster.end())

  it('npm consul: an event fired anywhere is listed everywhere, once', async () => {
    const fired: string[] = []
    for (const host of hosts) {
      const { ID } = (await clientOf(host).event.fire('deploy', `from ${host.name}`)) as Event
      fired.push(ID)
    }
    for (const host of hosts) {
      await until(`all events at ${host.name}`, async () => (await listed(host, 'deploy')).length === 4)
      const events = (await clientOf(host).event.list('deploy')) as Event[]
      assert.deepEqual(events.map(({ ID }) => ID).sort(), [...fired].sort())
      assert.deepEqual(
        events.map(({ Payload }) => Payload).sort(),
        hosts.map(({ name }) => `from ${name}`),
      )
    }
  })

  it('npm consul: a watch hears of the next one', async () => {
    const consul = clientOf(second)
    const watch = consul.watch({ method: consul.event.list, options: { name: 'watched', wait: '30s' } as never })
    const heard: number[] = []
    watch.on('change', (events: Event[]) => heard.push(events.length))
    await until('the first look', () => heard.length > 0)
    await clientOf(aside).event.fire('watched', 'now')
    await until('the event', () => heard.at(-1) === 1)
    watch.end()
  })

  it('filters choose among agents', async () => {
    await third.http('PUT', '/v1/agent/service/register', '{"Name":"web","ID":"web-7","Tags":["blue"]}')
    const fire = (query: string) => first.http('PUT', `/v1/event/fire/chosen${query}`, 'x')
    await fire('?node=host2')
    await fire('?service=web&tag=^bl')
    await fire('')
    await until('the last at all', async () => {
      const counts = await Promise.all(hosts.map(async (host) => (await listed(host, 'chosen')).length))
      return String(counts) === '1,2,2,1'
    })
  })

  it('registry event: fires, and says what is wrong in the words of Consul', async () => {
    const { code, output } = await run(['event', at(aside), '-name=cli', '-node=host', 'hello'])
    assert.equal(code, 0)
    assert.match(output, /^Event ID: [0-9a-f-]{36}\n$/)
    await until('the event', async () => (await listed(second, 'cli')).length === 1)
    const [event] = await listed(second, 'cli')
    assert.equal(event?.Payload, Buffer.from('hello').toString('base64'))
    for (const [words, message] of [
      [[], /^Event name must be specified\n/],
      [['-name=x', 'a', 'b'], /^Too many command line arguments\.\n/],
      [
        ['-name=x', '-node=('],
        /^Failed to compile node filter regexp: error parsing regexp: missing closing \): `\(`\n$/,
      ],
      [['-name=x', '-tag=a'], /^Cannot provide tag filter without service filter\.\n$/],
      [['-name=x', '-datacenter=nowhere'], /No path to datacenter/],
      [['-name=x', 'a'.repeat(600)], /user event exceeds configured limit of 512 bytes before encoding/],
    ] as const) {
      const answer = await run(['event', at(first), ...words])
      assert.equal(answer.code, 1, words.join(' '))
      assert.match(answer.output, message)
    }
  })

  it('registry monitor: shows more than the agent logs, until it is interrupted', async () => {
    const monitor = new Process(['monitor', at(first), '-log-level=debug'])
    try {
      const loud = async () => {
        await first.http('PUT', '/v1/event/fire/loud')
        return monitor.output.includes('new event')
      }
      await until('a line', loud)
      assert.match(
        monitor.output,
        /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \[DEBUG\] agent: new event: event_name=loud event_id=[0-9a-f-]{36}$/m,
      )
      assert.doesNotMatch(first.process?.output ?? '', /new event/)
    } finally {
      assert.deepEqual(await monitor.signal('SIGINT'), { code: 0, signal: null })
    }
    const json = new Process(['monitor', at(first), '-log-level=debug', '-log-json'])
    await until('a line', async () => {
      await first.http('PUT', '/v1/event/fire/loud')
      return json.output.includes('\n')
    })
    await json.signal('SIGTERM')
    for (const line of json.output.trim().split('\n'))
      assert.equal(JSON.parse(line)['@module'] !== undefined, true, line)
  })

  it('registry monitor: an unknown level, and nobody there', async () => {
    assert.deepEqual(await run(['monitor', at(first), '-log-level=bogus']), {
      code: 1,
      output: 'Error starting monitor: Unexpected response code: 400 (Bad request: Unknown log level: bogus)\n',
    })
    const nobody = await run(['monitor', '-http-addr=127.0.0.1:1'])
    assert.equal(nobody.code, 1)
    assert.match(nobody.output, /^Error starting monitor: .*127\.0\.0\.1:1/)
  })

  it('registry members: tables as Consul prints them, patterns, JSON, and code 2 for none', async () => {
    const plain = (await run(['members', at(aside)])).output.split('\n')
    assert.match(plain[0] ?? '', /^Node {3}Address {9,}Status {2}Type {4}Build {2}Protocol {2}DC {3}Segment$/)
    assert.match(
      plain[1] ?? '',
      /^host1 {2}127\.\d+\.\d+\.\d+:8301 {2,}alive {3}server {2}1\.8\.7 {2}2 {9}dc1 {2}<all>$/,
    )
    assert.match(plain[4] ?? '', /^host4 .* client {2}1\.8\.7 {2}2 {9}dc1 {2}<default>$/)
    const detailed = (await run(['members', at(aside), '-detailed'])).output
    assert.match(detailed, /^Node {3}Address {9,}Status {2}Tags\n/)
    assert.match(detailed, /^host1 .*alive {3}acls=0,build=1\.8\.7:,dc=dc1,expect=3,id=[0-9a-f-]{36},port=8300,/m)
    assert.match(detailed, /,segment=<default>,/)
    const wan = (await run(['members', at(first), '-wan'])).output
    assert.match(wan, /^host1\.dc1 {2}127\.\d+\.\d+\.\d+:8302 {2,}alive {3}server/m)
    assert.doesNotMatch(wan, /host4/)

    assert.deepEqual(await run(['members', at(aside), '-status=failed']), { code: 2, output: '' })
    assert.deepEqual(await run(['members', at(aside), '-status=^left$']), { code: 2, output: '' })
    assert.equal((await run(['members', at(aside), '-status=aliv|failed'])).output.trim().split('\n').length, 5)
    assert.deepEqual(await run(['members', at(aside), '-status=(']), {
      code: 1,
      output: 'Failed to compile status regexp: error parsing regexp: missing closing ): `(`\n',
    })
    assert.deepEqual(await run(['members', at(aside), '-segment=foo']), {
      code: 1,
      output:
        'Error retrieving members: Unexpected response code: 500 (Network segments are not supported in this version of Consul)\n',
    })
    assert.deepEqual(await run(['members', at(aside), '-format=xml']), { code: 1, output: 'Unknown format: xml\n' })

    const json = await run(['members', at(aside), '-format', 'json', '-status=alive'])
    assert.equal(json.code, 0)
    const byName = (one: { Name: string }, other: { Name: string }) => (one.Name < other.Name ? -1 : 1)
    const api = await aside.json<{ Name: string }[]>('/v1/agent/members?segment=_all')
    assert.deepEqual((JSON.parse(json.output) as { Name: string }[]).sort(byName), api.sort(byName))
    assert.deepEqual(await run(['members', at(aside), '-format=json', '-status=failed']), { code: 2, output: '[]\n' })
  })

  it('registry reload, and a hang-up: the log says more from then on; what is wrong is said, and changes nothing', async () => {
    const file = join(mkdtempSync(join(tmpdir(), 'rollcall-reload-')), 'agent.json')
    const write = (config: object) => writeFileSync(file, JSON.stringify(config))
    write({ log_level: 'info' })
    await second.process?.signal('SIGTERM')
    const { child } = second.start(
      '-server',
      '-bootstrap-expect=3',
      `-retry-join=${first.address}`,
      `-config-file=${file}`,
    )
    const output = () => second.process?.output ?? ''
    await until('its return', async () => (await second.leader().catch(() => '')) !== '')
    const loud = async () => {
      await second.http('PUT', '/v1/event/fire/loud').catch(() => {})
      return /new event/.test(output())
    }
    await loud()
    assert.doesNotMatch(output(), /new event/)

    write({ log_level: 'debug', dns_config: { only_passing: true } })
    assert.deepEqual(await run(['reload', at(second)]), { code: 0, output: 'Configuration reload triggered\n' })
    assert.match(output(), /\[WARN\] agent: these options have changed and count at the next start only: dns$/m)
    await until('a line of debugging', loud)

    write({ log_level: 'loud' })
    const refused = await run(['reload', at(second)])
    assert.equal(refused.code, 1)
    assert.match(refused.output, /^Error reloading: Unexpected response code: 500 \(Invalid log level: loud/)
    child.kill('SIGHUP')
    await second.process?.shows(/Caught signal: hangup\n(.*\n)*.*Failed to reload configs: Invalid log level: loud/)
    assert.notEqual(await second.leader(), '')
    rmSync(dirname(file), { recursive: true })
  })

  it('registry monitor ends with the agent, and says so', async () => {
    const monitor = new Process(['monitor', at(third)])
    let n = 0
    await until('a line', async () => {
      await third.http('PUT', '/v1/agent/service/register', `{"Name":"s${n++}"}`)
      return monitor.output !== ''
    })
    await third.process?.signal('SIGTERM')
    assert.deepEqual(await monitor.ended, { code: 1, signal: null })
    assert.match(
      monitor.output,
      /\n\nRemote side ended the monitor! This usually means that the\nremote side has exited or crashed\.\n$/,
    )
  })
})
