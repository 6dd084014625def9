import assert from 'node:assert/strict'
import { Refused } from '../errors.ts'
import { parsePeers } from './peers-file.ts'

const parse = (text: string) => parsePeers(Buffer.from(text))
const id = 'adf4238a-882b-9ddc-4a9d-5b6758e4159e'

describe('raft/peers.json', () => {
  it('is a list of servers, or of their addresses', () => {
    assert.deepEqual(
      parse(
        `[{"id":"${id.toUpperCase()}","address":"10.1.0.1:8300"},{"id":"x","address":"[::1]:8300","non_voter":true}]`,
      ),
      [
        { id, address: '10.1.0.1:8300', voter: true },
        { id: 'x', address: '[::1]:8300', voter: false },
      ],
    )
    assert.deepEqual(parse('["10.1.0.1:8300"]'), [{ id: undefined, address: '10.1.0.1:8300', voter: true }])
  })

  for (const [text, reason] of [
    ['', /^it is not JSON/],
    ['[{]', /^it is not JSON/],
    ['{}', /expected a list of servers.*received \{\}/],
    ['[]', /expected a list of servers.*received \[\]/],
    ['[7]', /^server 1 of 1: expected an object with "id" and "address", or an address, received 7/],
    [
      `[{"id":"${id}","address":"10.1.0.1:8300"},{"address":"10.1.0.2:8300"}]`,
      /^server 2 of 2: expected "id".*received nothing/,
    ],
    [`[{"id":"${id}"}]`, /expected "address" to be host:port, received nothing/],
    [
      `[{"id":"${id}","address":"10.1.0.1"}]`,
      /^server 1 of 1: expected an address as host:port, received "10\.1\.0\.1"/,
    ],
    [`[{"id":"${id}","address":"10.1.0.1:0"}]`, /^server 1 of 1: expected a port from 1 on, received "10\.1\.0\.1:0"/],
    ['["10.1.0.1:0"]', /^server 1 of 1: expected a port from 1 on/],
    [`[{"id":"${id}","address":"10.1.0.1:8300","non_voter":"no"}]`, /"non_voter" to be true or false, received "no"/],
    [`[{"id":"${id}","adress":"10.1.0.1:8300"}]`, /received "adress"/],
  ] as const) {
    it(`${text} is refused, with what is wrong and where`, () => {
      assert.throws(
        () => parse(text),
        (error: Error) => error instanceof Refused && reason.test(error.message),
      )
    })
  }
})
