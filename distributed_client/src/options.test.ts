import assert from 'node:assert/strict'
import { type Options, parseOptions } from './options.ts'

function optionsOf(args: string[], env: Record<string, string> = {}): Options {
  const parsed = parseOptions(args, env)
  assert.ok('options' in parsed, JSON.stringify(parsed))
  return parsed.options
}

describe('parseOptions of the client', () => {
  it('asks the registry by its name, every second', () => {
    assert.deepEqual(optionsOf([]), {
      registry: 'http://consul.service.consul:8500',
      dns: undefined,
      service: 'distributed_app',
      interval: 1000,
      once: false,
      json: false,
      help: false,
    })
  })

  it('reads times with a unit, and seconds without one', () => {
    const table: [string, number][] = [
      ['1', 1000],
      ['0.5', 500],
      ['.5', 500],
      ['250ms', 250],
      ['2s', 2000],
      ['1m', 60_000],
    ]
    for (const [text, millis] of table) assert.equal(optionsOf(['--interval', text]).interval, millis)
  })

  it('reads DNS servers, with the port of DNS unless another is given', () => {
    const table: [string, string][] = [
      ['172.17.0.1', '172.17.0.1:53'],
      ['127.0.77.17:8600', '127.0.77.17:8600'],
      ['fd00::1', '[fd00::1]:53'],
      ['[fd00::1]:8600', '[fd00::1]:8600'],
    ]
    for (const [text, server] of table) assert.equal(optionsOf(['--dns', text]).dns, server)
  })

  it('takes the environment, and the command line before it', () => {
    const env = { REGISTRY_URL: 'http://env:8500', DNS_SERVER: '10.0.77.22' }
    assert.equal(optionsOf([], env).registry, 'http://env:8500')
    assert.equal(optionsOf(['--registry=http://word:8500'], env).registry, 'http://word:8500')
    assert.equal(optionsOf([], env).dns, '10.0.77.22:53')
  })

  it('says every mistake at once', () => {
    const args = ['--once=yes', 'word', '--bogus', '--interval', '0', '--dns', 'host1', '--service=', '--registry', 'x']
    assert.deepEqual(parseOptions(args, {}), {
      mistakes: [
        '--once takes no value, got "yes"',
        'unexpected argument "word"',
        'unknown option --bogus',
        '--service needs a value',
        'the registry must be a URL like http://127.0.0.1:8500, got "x"',
        'the DNS server must be an IP address with or without a port, got "host1"',
        '--interval must be a time above zero like 1, 0.5, 500ms or 2s, got "0"',
      ],
    })
  })
})
