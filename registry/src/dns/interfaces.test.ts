import assert from 'node:assert/strict'
import { ipv4Addresses, ipv6Addresses } from './interfaces.ts'

describe('the addresses of a Linux machine', () => {
  it('are the local ones of 32 bits, each once, with or without a carrier', () => {
    const trie = `Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 127.0.0.0/31 1 0 0
        |-- 127.0.0.0
           /8 host LOCAL
        |-- 127.0.0.1
           /32 host LOCAL
     +-- 172.17.0.0/30 2 0 2
        |-- 172.17.0.0
           /16 link UNICAST
        |-- 172.17.0.1
           /32 host LOCAL
     |-- 172.17.255.255
        /32 link BROADCAST
Local:
        |-- 172.17.0.1
           /32 host LOCAL
        |-- 10.0.77.22
           /32 host LOCAL
`
    assert.deepEqual(ipv4Addresses(trie), ['127.0.0.1', '172.17.0.1', '10.0.77.22'])
    assert.deepEqual(ipv4Addresses(''), [])
  })

  it('of IPv6 are those that are not of one link only', () => {
    const list = `00000000000000000000000000000001 01 80 10 80       lo
fd000000000000000000000000000002 04 40 00 82     eth0
fe8000000000000000fc00fffe000001 04 40 20 80     eth0
`
    assert.deepEqual(ipv6Addresses(list), ['::1', 'fd00::2'])
    assert.deepEqual(ipv6Addresses(''), [])
  })
})
