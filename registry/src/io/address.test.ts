import assert from 'node:assert/strict'
import { addressText, parseAddress } from './address.ts'

describe('an address', () => {
  for (const [text, host, port] of [
    ['10.0.0.1:8300', '10.0.0.1', 8300],
    ['10.0.0.1', '10.0.0.1', 8301],
    ['host1:1', 'host1', 1],
    ['[fe80::1]:8300', 'fe80::1', 8300],
    ['[fe80::1%eth0]', 'fe80::1%eth0', 8301],
    ['fe80::1', 'fe80::1', 8301],
    ['::1', '::1', 8301],
    ['::ffff:10.0.0.1', '::ffff:10.0.0.1', 8301],
  ] as const) {
    it(`reads ${text}`, () => assert.deepEqual(parseAddress(text, 8301), { host, port }))
  }

  it('is written so that it reads back', () => {
    for (const address of [
      { host: '10.0.0.1', port: 8300 },
      { host: 'fe80::1', port: 8300 },
    ]) {
      assert.deepEqual(parseAddress(addressText(address)), address)
    }
  })

  for (const text of ['', ':8300', 'a b', 'host:', 'host:x', 'host:70000', '[::1', '10.0.0.1:1:2', 'http://host:1']) {
    it(`refuses "${text}"`, () => assert.throws(() => parseAddress(text, 8301), { name: 'BadRequest' }))
  }

  it('needs a port when there is no default', () =>
    assert.throws(() => parseAddress('host'), /expected an address as host:port/))
})
