import assert from 'node:assert/strict'
import { lanConfig, localConfig, wanConfig } from '../gossip/gossip.ts'
import { type AgentConfig, configure, type Machine } from './config.ts'

function machine(files: Record<string, string> = {}, addresses = ['10.0.77.22']): Machine {
  return {
    hostname: () => 'host1',
    readFile: (path) => {
      const text = files[path]
      if (text === undefined) throw new Error(`ENOENT: no such file or directory, open '${path}'`)
      return text
    },
    readFolder: (path) => {
      const names = Object.keys(files).filter((name) => name.startsWith(`${path}/`))
      if (names.length === 0) throw new Error(`ENOENT: no such file or directory, scandir '${path}'`)
      return names.map((name) => name.slice(path.length + 1))
    },
    addresses: () => addresses.map((address, at) => ({ interface: `eth${at}`, address })),
  }
}
function config(words: string, at = machine(), asConsul = false): AgentConfig {
  const configured = configure(words.split(' '), at, asConsul)
  if (!('config' in configured)) return assert.fail(JSON.stringify(configured))
  return configured.config
}
function mistakes(words: string, at = machine()): string[] {
  const configured = configure(words.split(' '), at, false)
  if (!('mistakes' in configured)) return assert.fail(`${words}: expected mistakes, received a configuration`)
  return configured.mistakes
}

describe('configuration of the agent', () => {
  it("has Consul's defaults", () => {
    const { ports, bind, advertise, clients, datacenter, domain, server, nodeName, ...rest } = config('-data-dir=/d')
    assert.deepEqual(ports, { dns: 8600, http: 8500, rpc: 8400, server: 8300, serfLan: 8301, serfWan: 8302 })
    assert.deepEqual([bind, advertise, clients], ['0.0.0.0', '10.0.77.22', ['127.0.0.1']])
    assert.deepEqual([datacenter, domain, server, nodeName], ['dc1', 'consul', false, 'host1'])
    assert.deepEqual([rest.leaveOnTerminate, rest.skipLeaveOnInterrupt], [true, false])
    assert.deepEqual([rest.rpcHold, rest.checkUpdateInterval, rest.retryInterval], [7000, 300_000, 30_000])
  })

  it('reads flags with one dash or two, with = or a space', () => {
    for (const words of [
      '-server -data-dir=/d -bootstrap-expect=3 -join=a -join=b',
      '--server --data-dir /d --bootstrap-expect 3 --join a --join b',
      '-server=true -data-dir /d -bootstrap-expect=3 --join=a -join b',
    ]) {
      const { server, bootstrapExpect, join, leaveOnTerminate } = config(words)
      assert.deepEqual([server, bootstrapExpect, join, leaveOnTerminate], [true, 3, ['a', 'b'], false], words)
    }
  })

  it('the HTTP ports are open to all with 200 connections each, unless a file says otherwise', () => {
    assert.deepEqual(config('-data-dir=/d').http, {
      responseHeaders: {},
      blockEndpoints: [],
      writers: [],
      useCache: true,
      connectionsPerClient: 200,
    })
    const http_config = {
      response_headers: { 'Access-Control-Allow-Origin': '*' },
      block_endpoints: ['/v1/acl'],
      allow_write_http_from: ['127.0.0.0/8', '::1/128'],
      use_cache: false,
    }
    const file = (content: unknown) => machine({ '/c.json': JSON.stringify(content) })
    const limits = { http_max_conns_per_client: 0 }
    assert.deepEqual(config('-data-dir=/d -config-file=/c.json', file({ http_config, limits })).http, {
      responseHeaders: http_config.response_headers,
      blockEndpoints: http_config.block_endpoints,
      writers: http_config.allow_write_http_from,
      useCache: false,
      connectionsPerClient: 0,
    })
    const wrong = {
      http_config: {
        response_headers: { 'X Foo': 'bar', 'X-Foo': 'a\r\nb', 'content-length': '3' },
        allow_write_http_from: ['10.0.0.0', '10.0.0.0/33', 'host/8', '::1/129'],
      },
      limits: { http_max_conns_per_client: -1 },
    }
    const found = mistakes('-data-dir=/d -config-file=/c.json', file(wrong))
    assert.equal(found.length, 8, found.join('\n'))
    assert.match(found.join('\n'), /expected a network such as "10\.0\.0\.0\/8", received "10\.0\.0\.0\/33"/)
    assert.match(found.join('\n'), /http_config\.response_headers: "X Foo: bar" is no header/)
    assert.match(found.join('\n'), /content-length follows from the answer and cannot be set/)
    assert.match(found.join('\n'), /limits\.http_max_conns_per_client cannot be -1/)
  })

  it('encryption of gossip is by a key that is one, and strict unless told otherwise', () => {
    const key = Buffer.alloc(32, 5).toString('base64')
    const strict = { verifyIncoming: true, verifyOutgoing: true, keepFile: true }
    assert.deepEqual(config('-data-dir=/d').encrypt, { key: undefined, ...strict })
    assert.deepEqual(config(`-data-dir=/d -encrypt=${key}`).encrypt, { key, ...strict })
    assert.deepEqual(config(`-data-dir=/d -encrypt ${key} -disable-keyring-file`).encrypt, {
      key,
      ...strict,
      keepFile: false,
    })
    const file = { encrypt: key, encrypt_verify_incoming: false, encrypt_verify_outgoing: false }
    const relaxed = config('-data-dir=/d -config-file=/e.json', machine({ '/e.json': JSON.stringify(file) }))
    assert.deepEqual(relaxed.encrypt, { key, verifyIncoming: false, verifyOutgoing: false, keepFile: true })
    assert.deepEqual(mistakes('-data-dir=/d -encrypt=abc'), [
      'encrypt has invalid key: illegal base64 data at input byte 0; "registry keygen" makes one',
    ])
    assert.deepEqual(mistakes('-data-dir=/d -encrypt=AAAA'), [
      'encrypt has invalid key: key size must be 16, 24 or 32 bytes; "registry keygen" makes one',
    ])
  })

  it("gossip is paced as Consul's, as files say, and on one machine with -dev", () => {
    const { lan, wan } = config('-data-dir=/d').gossip
    assert.deepEqual([lan, wan], [lanConfig, wanConfig])
    assert.deepEqual(config('-dev').gossip, { lan: localConfig, wan: localConfig })
    const file = {
      gossip_lan: { gossip_interval: '1s', gossip_nodes: 5, probe_interval: '2s', probe_timeout: '300ms' },
      gossip_wan: { retransmit_mult: 7, suspicion_mult: 8 },
      reconnect_timeout: '10h',
      reconnect_timeout_wan: '0s',
    }
    const given = config('-data-dir=/d -config-file=/g.json', machine({ '/g.json': JSON.stringify(file) })).gossip
    assert.deepEqual(given.lan, {
      ...lanConfig,
      gossipInterval: 1_000,
      gossipNodes: 5,
      probeInterval: 2_000,
      probeTimeout: 300,
      failedReapTimeout: 36_000_000,
    })
    assert.deepEqual(given.wan, { ...wanConfig, retransmitMult: 7, suspicionMult: 8 })
  })

  it('what gossip cannot be paced by is a mistake, what it should not be a warning', () => {
    const read = (text: object) => machine({ '/g.json': JSON.stringify(text) })
    const words = '-data-dir=/d -config-file=/g.json'
    const gossip_lan = { probe_interval: '10ms', suspicion_mult: 0, gossip_nodes: -1 }
    assert.deepEqual(mistakes(words, read({ gossip_lan, reconnect_timeout_wan: 'x' })), [
      'gossip_lan.probe_interval cannot be 10ms. Must be at least 100ms',
      'gossip_lan.gossip_nodes cannot be -1. Must be at least 1',
      'gossip_lan.suspicion_mult cannot be 0. Must be at least 1',
      'reconnect_timeout_wan: time: invalid duration "x"',
    ])
    const { warnings } = config(words, read({ reconnect_timeout: '1h', gossip_wan: { probe_timeout: '9s' } }))
    assert.deepEqual(
      warnings.filter((warning) => /reconnect|gossip/.test(warning)),
      [
        'reconnect_timeout is less than 8h: a node that is away for a night is forgotten with all it had',
        'gossip_wan.probe_timeout is longer than probe_interval: no member is asked to probe for another',
      ],
    )
  })

  it('the words of the book are understood', () => {
    const image = machine({
      '/etc/r/r.json': '{"data_dir":"/data","client_addr":"0.0.0.0","ports":{"dns":53},"recursor":"8.8.8.8"}',
    })
    assert.match(mistakes('-config-dir=/etc/r -server', image)[0] ?? '', /invalid config key recursor/)
    const right = machine({
      '/etc/r/r.json': '{"data_dir":"/data","client_addr":"0.0.0.0","ports":{"dns":53},"recursors":["8.8.8.8"]}',
    })
    const read = config('-config-dir=/etc/r -server -advertise=10.0.77.16 -join=10.0.77.22', right)
    assert.deepEqual([read.advertise, read.join, read.clients], ['10.0.77.16', ['10.0.77.22'], ['0.0.0.0']])
    assert.deepEqual([read.ports.dns, read.ports.http, read.recursors], [53, 8500, ['8.8.8.8']])
  })

  it('files come in order, flags win, lists add up with flags first', () => {
    const files = machine({
      '/a.json': '{"data_dir":"/a","datacenter":"dc-a","retry_join":["one"]}',
      '/c/2.json': '{"datacenter":"dc-2","node_meta":{"rack":"2"}}',
      '/c/1.json': '{"datacenter":"dc-1","node_meta":{"row":"1"},"retry_join":["two"]}',
    })
    const read = config('-config-file=/a.json -config-dir=/c -retry-join=zero -node-meta=rack:flag', files)
    assert.deepEqual([read.dataDir, read.datacenter], ['/a', 'dc-2'])
    assert.deepEqual(read.retryJoin.toSorted(), ['one', 'two', 'zero'])
    assert.equal(read.retryJoin[0], 'zero')
    assert.deepEqual(read.nodeMeta, { row: '1', rack: 'flag' })
  })

  it('lists every mistake at once', () => {
    const found = mistakes(
      '-bootstrap -bootstrap-expect=-1 -nope -datacenter=bad.dc -http-port=x -log-level=loud -client=host -dns-port=70000 -join=[',
    )
    for (const part of [
      'flag provided but not defined: -nope',
      "'bootstrap = true' requires 'server = true'",
      'bootstrap_expect cannot be -1',
      'datacenter cannot be "bad.dc"',
      '-http-port: expected a whole number, received "x"',
      'Invalid log level: loud',
      'data_dir cannot be empty',
      'client_addr: expected an IP address',
      'ports.dns: expected a port up to 65535, received 70000',
      'start_join: expected an address',
    ]) {
      assert.ok(
        found.some((mistake) => mistake.includes(part)),
        `${part} is missing in:\n${found.join('\n')}`,
      )
    }
  })

  it('addresses are IP addresses, and what is waited for again and again takes some time', () => {
    for (const address of ['1.2.3', '300.1.1.1', 'host1', '[::1', '1:2']) {
      assert.match(mistakes(`-data-dir=/d -bind=${address}`).join(), /bind_addr: expected an IP address/, address)
      assert.match(mistakes(`-data-dir=/d -advertise=${address}`).join(), /advertise_addr: expected an IP/, address)
    }
    assert.equal(config('-data-dir=/d -bind=[::1]').bind, '::1')
    assert.match(mistakes('-data-dir=/d -retry-interval=0s').join(), /retry_interval cannot be 0s/)
    assert.match(mistakes('-data-dir=/d -retry-interval=-5s').join(), /retry_interval cannot be -5s/)
    const negative = machine({ 'n.json': '{"performance":{"rpc_hold_timeout":"-7s"},"check_update_interval":"-1s"}' })
    const found = mistakes('-data-dir=/d -config-file=n.json', negative)
    assert.equal(found.length, 2, found.join())
  })

  it('-bootstrap and -bootstrap-expect exclude each other', () => {
    assert.deepEqual(mistakes('-server -bootstrap -bootstrap-expect=3 -data-dir=/d'), [
      "'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive",
    ])
  })

  it('a file that is missing, no JSON, or holds unknown keys or wrong kinds is named with the reason', () => {
    const files = machine({
      '/bad.json': '{',
      '/odd.json': '{"server":"yes","bogus":1,"ports":{"what":1},"data_dir":"/d"}',
    })
    const found = mistakes('-config-file=/none.json -config-file=/bad.json -config-file=/odd.json', files).join('\n')
    assert.match(found, /\/none\.json: ENOENT/)
    assert.match(found, /\/bad\.json: .*JSON/)
    assert.match(found, /\/odd\.json: server: expected true or false, received "yes"/)
    assert.match(found, /\/odd\.json: invalid config key bogus/)
    assert.match(found, /\/odd\.json: invalid config key ports\.what/)
  })

  it('several private addresses: one must be chosen, and the error shows them', () => {
    const two = machine({}, ['10.0.0.1', '192.168.1.1'])
    assert.match(mistakes('-data-dir=/d', two)[0] ?? '', /Multiple private IPv4 addresses found.*10\.0\.0\.1 on eth0/)
    assert.equal(config('-data-dir=/d -bind=192.168.1.1', two).advertise, '192.168.1.1')
    assert.equal(config('-data-dir=/d -advertise=10.0.0.1', two).bind, '0.0.0.0')
  })

  it('templates of addresses are filled in', () => {
    const two = machine({}, ['10.0.0.1', '192.168.1.1'])
    const words = ['-data-dir=/d', '-bind={{ GetInterfaceIP "eth1" }}', '-client={{ GetPrivateIP }} 127.0.0.1']
    const configured = configure(words, two, false)
    assert.ok('config' in configured, JSON.stringify(configured))
    assert.deepEqual([configured.config.bind, configured.config.clients], ['192.168.1.1', ['10.0.0.1', '127.0.0.1']])
  })

  it('as consul, the port for the command line is off unless asked for', () => {
    assert.equal(config('-data-dir=/d', machine(), true).ports.rpc, -1)
    assert.equal(config('-data-dir=/d -rpc-port=8400', machine(), true).ports.rpc, 8400)
    assert.equal(config('-data-dir=/d -rpc-port=-1').ports.rpc, -1)
  })

  it('two services on one port are a mistake', () => {
    assert.match(mistakes('-data-dir=/d -http-port=8300')[0] ?? '', /ports\.server and ports\.http are both 8300/)
  })

  it('words of former Consuls are accepted with a warning', () => {
    const read = config('-data-dir=/d -dc=dc9 -atlas=x -ui-dir=/ui')
    assert.equal(read.datacenter, 'dc9')
    assert.equal(read.warnings.length, 3)
  })

  it('-dev needs nothing else', () => {
    const read = config('-dev')
    assert.deepEqual([read.server, read.bootstrap, read.dataDir, read.bind], [true, true, undefined, '127.0.0.1'])
  })

  it('help names every flag', () => {
    const configured = configure(['-help'], machine(), false)
    assert.ok('help' in configured)
    for (const flag of ['-server', '-bootstrap-expect=', '-rpc-port=', '-config-dir=', '-dev']) {
      assert.ok(configured.help.includes(`  ${flag}`), flag)
    }
  })

  it('services and checks of all files add up, and programs of theirs are off unless allowed', () => {
    const files = {
      '/c/a.json': '{"service":{"name":"a"},"check":{"name":"c","args":["x"],"interval":"1s"}}',
      '/c/b.json': '{"services":[{"name":"b"}],"enable_local_script_checks":true}',
    }
    const { definitions, scripts, warnings } = config('-data-dir=/d -config-dir=/c', machine(files))
    assert.deepEqual(
      definitions.services.map(({ service }) => service.name),
      ['a', 'b'],
    )
    assert.deepEqual([definitions.checks.length, scripts], [1, { files: true, remote: false }])
    assert.deepEqual(warnings, [])
    const remote = config('-data-dir=/d -enable-script-checks')
    assert.deepEqual(remote.scripts, { files: true, remote: true })
    assert.match(remote.warnings.join(), /^enable_script_checks: whoever reaches the HTTP API runs programs/)
    const [mistake] = mistakes('-data-dir=/d -config-file=/c/a.json', machine(files))
    assert.match(mistake ?? '', /^failed to parse \/c\/a\.json: check \("c"\): Scripts are disabled/)
  })
})
