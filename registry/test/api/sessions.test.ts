/** What clients send about sessions that no client library would. */
import assert from 'node:assert/strict'
import { SingleNode } from './surface.ts'

describe('the endpoints of sessions', () => {
  const node = new SingleNode()

  const created = async (body: string) => {
    const answer = await node.ask('PUT', '/v1/session/create', `{"NodeChecks":[],${body}}`)
    assert.equal(answer.status, 200, answer.text)
    return answer.json().ID as string
  }

  it('take the end of an id that nobody can be of for done, as Consul does', async () => {
    for (const id of ['1'.repeat(36), `${'1'.repeat(34)}--`]) {
      const { status, text } = await node.ask('PUT', `/v1/session/destroy/${id}`)
      assert.deepEqual([status, text], [200, 'true'], id)
      assert.equal((await node.ask('PUT', `/v1/session/renew/${id}`)).status, 404)
    }
  })

  for (const given of ['1e30', '-1e30', '9223372036854775807', '"9223372036854775000ns"'])
    it(`show a lock-delay of ${given} as a duration that clients in Go can read`, async () => {
      const id = await created(`"LockDelay":${given}`)
      const { text } = await node.ask('GET', `/v1/session/info/${id}`)
      const shown = /"LockDelay":([^,]*)/.exec(text)?.[1] ?? ''
      assert.match(shown, /^-?\d+$/)
      assert.ok(BigInt(shown) < 2n ** 63n && BigInt(shown) >= -(2n ** 63n), shown)
    })

  it('refuse a lock-delay that is no number of Go, in its words', async () => {
    const { status, text } = await node.ask('PUT', '/v1/session/create', '{"LockDelay":1e999}')
    assert.equal(status, 400)
    assert.match(text, /^Request decode failed: json: cannot unmarshal number .*LockDelay of type float64$/)
  })
})
