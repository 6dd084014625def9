import assert from 'node:assert/strict'
import { type Options, parseOptions, usage } from './options.ts'

function optionsOf(args: string[], env: Record<string, string> = {}): Options {
  const parsed = parseOptions(args, env)
  assert.equal(parsed.kind, 'run', JSON.stringify(parsed))
  return (parsed as { options: Options }).options
}

function mistakesOf(args: string[]): { mistakes: string[]; usage: boolean } {
  const parsed = parseOptions(args, {})
  assert.equal(parsed.kind, 'mistakes')
  return parsed as { mistakes: string[]; usage: boolean }
}

describe('parseOptions of the registrator', () => {
  it('needs only the address of a registry', () => {
    const options = optionsOf(['consul://127.0.0.1:8500'])
    assert.equal(options.registry, 'http://127.0.0.1:8500')
    assert.equal(options.resync, 60_000)
    assert.equal(options.retryAttempts, -1)
    assert.deepEqual(options.rules, {
      ip: undefined,
      internal: false,
      explicit: false,
      tags: [],
      ipLabel: undefined,
      deregister: 'always',
      paused: 'deregister',
      ttl: 0,
    })
  })

  it('reads options as Go does: one dash or two, with = or the next word, switches alone or with =', () => {
    const options = optionsOf([
      '-ip=10.0.77.17',
      '--tags',
      'a,b\\,c',
      '-internal',
      '-cleanup=false',
      '--explicit=true',
      '-deregister',
      'on-success',
      '-ttl',
      '30',
      '-ttl-refresh=10',
      '-retry-attempts',
      '-1',
      '-useIpFromLabel',
      'net.ip',
      '-hostname=host3',
      'consul://registry:8500',
    ])
    assert.deepEqual(options.rules, {
      ip: '10.0.77.17',
      internal: true,
      explicit: true,
      tags: ['a', 'b,c'],
      ipLabel: 'net.ip',
      deregister: 'on-success',
      paused: 'deregister',
      ttl: 30_000,
    })
    assert.equal(options.ttlRefresh, 10_000)
    assert.equal(options.hostname, 'host3')
    assert.equal(options.registry, 'http://registry:8500')
  })

  it('knows where a registry is', () => {
    const table: [string, Record<string, string>, string][] = [
      ['consul://', {}, 'http://127.0.0.1:8500'],
      ['consul://', { CONSUL_HTTP_ADDR: '10.0.77.17:8501' }, 'http://10.0.77.17:8501'],
      ['consul://host1.node.consul', {}, 'http://host1.node.consul:8500'],
      ['consul://[fd00::1]:8500', {}, 'http://[fd00::1]:8500'],
      ['http://10.0.77.17:80', {}, 'http://10.0.77.17:80'],
      ['https://registry:8501/', {}, 'https://registry:8501'],
    ]
    for (const [text, env, expected] of table) assert.equal(optionsOf([text], env).registry, expected)
  })

  it('says every mistake at once', () => {
    const { mistakes, usage } = mistakesOf([
      '-ttl=5',
      '-deregister=never',
      '-retry-interval=0',
      '-resync',
      'soon',
      '-ip=host3',
      '-internal=perhaps',
      '-bogus',
      'etcd://127.0.0.1',
    ])
    assert.equal(usage, false)
    assert.deepEqual(mistakes, [
      '-internal must be true or false, got "perhaps"',
      'unknown option -bogus',
      '-ip must be an IP address, got "host3"',
      '-ttl and -ttl-refresh must be given together',
      '-deregister must be "always" or "on-success", got "never"',
      '-resync must be a whole number of at least 0, got "soon"',
      '-retry-interval must be a whole number of at least 1, got "0"',
      'the registry must be consul://HOST:PORT or http://HOST:PORT, got "etcd://127.0.0.1"',
    ])
  })

  it('a refresh must come before the end of the TTL', () => {
    assert.deepEqual(mistakesOf(['-ttl=5', '-ttl-refresh=5', 'consul://']).mistakes, [
      '-ttl (5) must be longer than -ttl-refresh (5)',
    ])
  })

  it('wants exactly one registry, after the options', () => {
    assert.deepEqual(mistakesOf([]), {
      kind: 'mistakes',
      usage: true,
      mistakes: ['expected one registry address like consul://127.0.0.1:8500 after the options, got none'],
    })
    assert.equal(mistakesOf(['consul://a', 'consul://b']).usage, true)
    assert.deepEqual(mistakesOf(['consul://a', '-internal']).mistakes, [
      'option -internal must come before the registry address',
      'expected one registry address like consul://127.0.0.1:8500 after the options, got "consul://a", "-internal"',
    ])
    assert.deepEqual(mistakesOf(['-ip']).mistakes[0], '-ip needs a value: ADDRESS')
  })

  it('helps, and says its version when that is all it is asked', () => {
    assert.equal(parseOptions(['-help'], {}).kind, 'help')
    assert.equal(parseOptions(['--version'], {}).kind, 'version')
    assert.equal(parseOptions(['-version', 'consul://'], {}).kind, 'run')
    for (const line of usage.split('\n')) assert.ok(line.length <= 120, line)
  })
})
