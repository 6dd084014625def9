import assert from 'node:assert/strict'
import { unreachable } from './reach.ts'

describe('whether members reach each other', () => {
  for (const [own, other, expected] of [
    ['10.0.0.1', '10.0.0.2', undefined],
    ['127.0.0.1', '127.9.9.9', undefined],
    ['fd00::1', 'fd00::2', undefined],
    ['::1', '127.0.0.1', /an IPv4 and an IPv6 address/],
    ['10.0.0.1', '127.0.0.1', /^b advertises the loopback address 127\.0\.0\.1, .*start it with another -advertise$/],
    [
      '127.0.0.1',
      '10.0.0.2',
      /^this agent advertises the loopback address 127\.0\.0\.1, .*start this one with another/,
    ],
    ['10.0.0.1', 'fd00::2', /^b advertises fd00::2 and this agent 10\.0\.0\.1: an IPv4 and an IPv6 address .*-bind=::/],
  ] as const) {
    it(`${own} and ${other}`, () => {
      const said = unreachable({ host: own, port: 8301 }, { host: other, port: 8301 }, 'b')
      if (expected === undefined) assert.equal(said, undefined)
      else assert.match(said ?? '', expected)
    })
  }
})
