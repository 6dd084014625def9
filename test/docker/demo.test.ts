/**
 * The demo on three engines, and what happens to it when hosts fail. scripts/demo.sh checks sections 1 to 5 by itself,
 * word for word; the tests after that go on with what it leaves running, in this order.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cutAndHeal } from './cuts.ts'
import { addresses, assertReport, type HostName, Hosts, names, root, until } from './hosts.ts'

const hosts = new Hosts('demo')

interface Instance {
  Node: string
  ServiceID: string
  ServicePort: number
}

/** `node/id/port` of every instance in the catalog, sorted. */
const instances = (asked: HostName, service = 'distributed_app') =>
  hosts
    .get<Instance[]>(asked, `/v1/catalog/service/${service}`)
    .map(({ Node, ServiceID, ServicePort }) => `${Node}/${ServiceID}/${ServicePort}`)
    .sort()

const four = ['host1/server1/2001', 'host1/server2/2002', 'host2/server1/2001', 'host2/server2/2002']
const others = (one: HostName) => names.filter((name) => name !== one) as [HostName, HostName]
const put = (host: HostName, key: string, value: string, timeout?: number) =>
  hosts.ask(host, 'PUT', `/v1/kv/${key}`, value, timeout)
const raw = (host: HostName, key: string) => hosts.ask(host, 'GET', `/v1/kv/${key}?raw`).text
const nodeId = (asked: HostName, name: string) =>
  hosts.get<{ Node: string; ID: string }[]>(asked, '/v1/catalog/nodes').find(({ Node }) => Node === name)?.ID
const voters = (asked: HostName) => hosts.get<string[]>(asked, '/v1/status/peers').sort()

/** A DNS server for names outside .consul only. On its one address: a wildcard socket would answer from another. */
const recursor = `
  import { createSocket } from 'node:dgram'
  import { decode, encode } from 'dns-packet'
  const socket = createSocket('udp4')
  socket.on('message', (bytes, from) => {
    const { id, questions: [question] } = decode(bytes)
    const known = question.type === 'A' && !/\\.consul$/.test(question.name)
    const answers = known ? [{ type: 'A', name: question.name, ttl: 60, data: '192.0.2.7' }] : []
    const rcode = /\\.consul$/.test(question.name) ? 3 : 0
    socket.send(encode({ type: 'response', id, flags: 0x180 | rcode, questions: [question], answers }), from.port, from.address)
  })
  socket.bind(53, '8.8.8.8', () => console.log('listening'))`

/** Three alive members and one leader, as every host sees it, and the application on both its hosts. */
async function whole(): Promise<void> {
  for (const host of names) {
    await until(60, `three members as ${host} sees them`, () =>
      names.every((name) => hosts.members(host)[name] === 'alive'),
    )
    await until(30, `a leader as ${host} sees it`, () => hosts.leader(host) !== undefined)
    await until(60, `four instances as ${host} sees them`, () => instances(host).join() === four.join())
    await until(30, `both addresses on ${host}`, () => {
      const wanted = [addresses.host2, addresses.host1].sort()
      return hosts.dig(host, 'distributed_app.service.consul').join() === wanted.join()
    })
  }
}

/** The containers of the demo on a host that was switched on again; as typed there, they have no restart policy. */
function startContainers(host: HostName): void {
  hosts.type(host, `docker start ${host}_agent`)
  hosts.type(host, `docker start $(docker ps -aq --filter status=exited --filter status=created)`)
}

describe('the demo on three Docker engines', () => {
  before(() => {
    hosts.hosts('down')
    const { code, output } = hosts.script(['scripts/demo.sh', '--docker'])
    assert.equal(code, 0, output)
    assertReport(output)
  })
  after(() => {
    hosts.must(['scripts/hosts.sh', 'down'])
  })

  it('leaves exactly four instances, whoever is asked', async () => {
    await whole()
  })

  it('a registrator registers the containers of its own engine, and none of ours', () => {
    const services = hosts.get<Record<string, string[]>>('host1', '/v1/catalog/services')
    assert.deepEqual(Object.keys(services).sort(), ['consul', 'distributed_app', 'redis'])
    const [redis, ...more] = hosts.get<(Instance & { ServiceAddress: string })[]>('host1', '/v1/catalog/service/redis')
    assert.deepEqual(more, [])
    assert.equal(redis?.Node, 'host3')
    assert.equal(redis?.ServicePort, 10000)
    assert.equal(redis?.ServiceID, 'host3:redis.0:6379')
  })

  it('no process of ours would open a debugger when it gets SIGUSR1', () => {
    const list = `sh -c 'for each in /proc/[0-9]*/cmdline; do tr "\\0" " " <$each; echo; done'`
    for (const [host, container, count] of [
      ['host1', 'host1_agent', 1],
      ['host1', 'host1_registrator', 1],
      ['host1', 'host1_distributed', 3],
      ['host3', 'host3_distributed', 1],
    ] as const) {
      const lines = hosts.type(host, `docker exec ${container} ${list}`).split('\n')
      const ours = lines.filter((line) => /rollcall\/(?!healthcheck)\w+\.mjs/.test(line))
      assert.equal(ours.length, count, lines.join('\n'))
      for (const line of ours) assert.match(line, / --disable-sigusr1 /, container)
    }
  })

  it('a killed Redis is gone from DNS on every host, and one started again is back', async () => {
    hosts.type('host3', 'docker kill redis.0')
    for (const host of names) {
      await until(10, `no redis on ${host}`, () => hosts.dig(host, 'redis.service.consul').length === 0)
    }
    hosts.type('host3', 'docker rm redis.0; docker run -d -p 10000:6379 --name redis.0 rollcall/redis')
    for (const host of names) {
      await until(10, `redis on ${host}`, () => hosts.dig(host, 'redis.service.consul').join() === addresses.host3)
    }
  })

  it('the application counts its hits in the Redis it found, together on both hosts', async () => {
    const hits = (host: HostName) => {
      const program = 'fetch("http://127.0.0.1:2001/hits").then((r) => r.text()).then(console.log)'
      return Number(/^(\d+) hit/.exec(hosts.type(host, `docker exec ${host}_distributed node -e '${program}'`))?.[1])
    }
    // Redis was just started anew, and each worker finds it again by itself.
    for (const host of ['host1', 'host2'] as const) await until(20, `${host} counts`, () => hits(host) > 0)
    const before = hits('host1')
    assert.equal(hits('host2'), before + 1)
  })

  it('a greeting changed in the key-value store changes the answer without a restart', async () => {
    const program = 'fetch("http://127.0.0.1:2002/").then((r) => r.text()).then(console.log)'
    const greeting = () => hosts.type('host2', `docker exec host2_distributed node -e '${program}'`)
    assert.equal(greeting(), 'Hello World!')
    assert.equal(put('host3', 'distributed_app/config/greeting', 'Hello Rollcall!').text, 'true')
    await until(10, 'the new greeting', () => greeting() === 'Hello Rollcall!')
    hosts.ask('host3', 'DELETE', '/v1/kv/distributed_app/config/greeting')
    await until(10, 'the old greeting', () => greeting() === 'Hello World!')
  })

  it('a container that asks its own host resolves our names, short and whole, and all others through recursion', async () => {
    // 8.8.8.8, the recursor of the image, is a process behind the switch here; it knows one address for every name.
    hosts.must(['ip', '-n', `${hosts.set}-switch`, 'address', 'replace', '8.8.8.8/32', 'dev', 'lo'])
    const upstream = spawn(
      'ip',
      ['netns', 'exec', `${hosts.set}-switch`, process.execPath, '--input-type=module', '-e', recursor],
      { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] },
    )
    try {
      await once(upstream.stdout, 'data')
      const resolve = (name: string) => {
        const program = `require("dns").lookup("${name}", 4, (e, a) => console.log(e ? e.code : a))`
        return hosts.type(
          'host2',
          `docker run --rm --dns=172.17.0.1 --dns=8.8.8.8 --dns-search=service.consul rollcall/redis node -e '${program}'`,
        )
      }
      assert.equal(resolve('redis.service.consul'), addresses.host3)
      assert.equal(resolve('redis'), addresses.host3)
      assert.equal(resolve('host3.node.consul'), addresses.host3)
      assert.equal(resolve('www.example.org'), '192.0.2.7')
      assert.equal(resolve('nobody.service.consul'), 'ENOTFOUND')
    } finally {
      upstream.kill()
    }
  })

  it('four instances after every registrator was restarted', async () => {
    for (const host of names) hosts.type(host, `docker restart ${host}_registrator`)
    await until(20, 'redis is still known', () => instances('host1', 'redis').length === 1)
    assert.deepEqual(instances('host2'), four)
  })

  it('a host cut off refuses writes and answers DNS with what it last knew', async () => {
    await whole()
    const cut = 'host2'
    hosts.hosts('cut', cut)
    try {
      // A write already on its way to the leader may end either way, and the answer says so. Once this host knows that
      // there is no leader for it, a write is refused for certain.
      await until(30, 'writes are refused', () => {
        const { status, text } = put(cut, 'test/maybe', 'maybe', 20_000)
        assert.equal(status, 500, text)
        return text === 'No cluster leader'
      })
      const { status, text } = put(cut, 'test/cut', 'never', 20_000)
      assert.deepEqual({ status, text }, { status: 500, text: 'No cluster leader' })
      assert.deepEqual(hosts.dig(cut, 'distributed_app.service.consul'), [addresses.host2, addresses.host1].sort())
      assert.equal(hosts.dig(cut, 'consul.service.consul').length, 3)
      await until(10, 'a write on the others', () => put('host1', 'test/others', 'written').text === 'true')
    } finally {
      hosts.hosts('heal', cut)
    }
    await whole()
    await until(10, 'what the others wrote', () => raw(cut, 'test/others') === 'written')
    assert.equal(hosts.ask('host1', 'GET', '/v1/kv/test/cut').status, 404)
    assert.equal(put(cut, 'test/cut', 'healed').text, 'true')
  })

  it('cut off and healed again and again: they agree again within 10 s, nobody leads falsely, no write is lost', async function () {
    const count = Number(process.env.CUTS ?? 2)
    this.timeout(120_000 + count * 120_000)
    await whole()
    const { rounds, acknowledged, reads, terms } = await cutAndHeal(hosts, count, (line) =>
      console.log(`      ${line}`),
    )
    const longest = Math.max(...rounds.map(({ agreed }) => agreed))
    const lastRead = Math.max(...rounds.map((round) => round.lastRead))
    console.log(
      `      ${count} rounds: agreed after ${longest.toFixed(2)} s at most; ${terms} terms had a leader, each one; ` +
        `${acknowledged} acknowledged writes, all there; ${reads} default and consistent reads, none out of date, ` +
        `none answered later than ${Math.round(lastRead)} ms after its host was cut off`,
    )
  })

  it('with the leader host without power, a write succeeds elsewhere within 5 s; it comes back from its disk', async () => {
    await whole()
    const dead = hosts.leader('host3') as HostName
    const [one, two] = others(dead)
    const id = nodeId(one, dead)
    assert.match(id ?? '', /^[0-9a-f-]{36}$/)
    assert.equal(put(one, 'test/before', dead).text, 'true')

    hosts.hosts('kill', dead)
    await until(5, 'a write through another host', () => put(one, 'test/after', 'written', 1000).text === 'true')

    for (const host of [one, two]) {
      await until(60, `${dead} known dead on ${host}`, () => hosts.members(host)[dead] === 'failed')
      for (const name of ['consul.service.consul', 'distributed_app.service.consul']) {
        await until(10, `no instance of ${dead} in ${name} on ${host}`, () => {
          const answer = hosts.dig(host, name)
          return answer.length > 0 && !answer.includes(addresses[dead])
        })
      }
    }

    hosts.hosts('start', dead)
    startContainers(dead)
    await whole()
    assert.equal(nodeId(one, dead), id)
    assert.equal(raw(dead, 'test/after'), 'written')
    assert.equal(raw(dead, 'test/before'), dead)
  })

  it('host1 with its disk lost, and the same words typed again, joins the living cluster', async () => {
    await whole()
    put('host2', 'test/kept', 'kept')
    hosts.type('host1', 'docker rm -fv host1_agent')
    hosts.type(
      'host1',
      `PUBLIC_IP="$(ifconfig ens160 | awk -F ' *|:' '/inet /{print $3}')"
       docker run -d -h $HOSTNAME -p 8300:8300 -p 8301:8301 -p 8301:8301/udp -p 8302:8302 -p 8302:8302/udp \
         -p 8400:8400 -p 8500:8500 -p 53:53/udp --dns=172.17.0.1 --dns=8.8.8.8 --dns-search=service.consul \
         --name host1_agent rollcall/registry -server -advertise=$PUBLIC_IP -bootstrap-expect=3`,
    )
    await whole()
    for (const host of names) {
      await until(30, `the old key on ${host}`, () => raw(host, 'test/kept') === 'kept')
      await until(30, `three voters as ${host} sees them`, () => voters(host).length === 3)
    }
  })
})
