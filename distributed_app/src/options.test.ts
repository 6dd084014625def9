import assert from 'node:assert/strict'
import { parseOptions } from './options.ts'

const parse = (args: string[], env: Record<string, string> = {}) => parseOptions(args, env, 'host1')

describe('parseOptions of the application', () => {
  it('asks the agent of its own host unless told otherwise', () => {
    assert.deepEqual(parse([]), {
      options: {
        registry: 'http://host1.node.consul:8500',
        address: '',
        bind: '0.0.0.0',
        ports: [2001, 2002],
        dns: undefined,
        redis: 'redis',
        help: false,
      },
    })
  })

  it('takes the environment, and the command line before it', () => {
    const env = { REGISTRY_URL: 'http://env:8500', DNS_SERVER: '10.0.77.22', PORT: '3001', BIND_ADDRESS: '' }
    const { options } = parse(['--registry', 'http://127.0.77.22:8500', '--dns=127.0.77.22:8600'], env) as {
      options: { registry: string; dns: string; ports: number[]; bind: string }
    }
    assert.equal(options.registry, 'http://127.0.77.22:8500')
    assert.equal(options.dns, '127.0.77.22:8600')
    assert.deepEqual(options.ports, [3001, 3002])
    assert.equal(options.bind, '0.0.0.0')
  })

  it('says every mistake at once', () => {
    assert.deepEqual(
      parse(['--port', '0', '--bogus', 'word', '--bind=', '--dns', 'host1', '--registry', 'host1:8500']),
      {
        mistakes: [
          'unknown option --bogus',
          'unexpected argument "word"',
          '--bind needs a value',
          'the registry must be a URL like http://127.0.0.1:8500, got "host1:8500"',
          '--port must be a number from 1 to 65534, got "0"',
          'the DNS server must be an IP address with or without a port, got "host1"',
        ],
      },
    )
  })
})
