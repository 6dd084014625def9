/** `/v1/operator/keyring`: what Consul 1.8.7 was recorded, or measured, to answer on a server that is alone. */
import assert from 'node:assert/strict'
import { SingleNode } from './surface.ts'

const [key, other] = [
  '3lAJz1YZVJh+6xBh3qF2hoJrwIhdhYk+XMVrnBMqdKA=',
  'eX9achWaIZaYzYGYkY9wyOonW6FCzu6C/QVkP6gnSN4=',
] as const
const path = '/v1/operator/keyring'

/** A pool's error and then its member's, for both pools. */
const each = (reason: string) =>
  '4 errors occurred:\n' +
  `\t* WAN error: 1/1 nodes reported failure\n\t* golden.dc1: ${reason}\n` +
  `\t* dc1 (LAN) error: 1/1 nodes reported failure\n\t* golden: ${reason}\n\n`
const pools = (keys: string, primary: string) =>
  [true, false]
    .map(
      (wan) =>
        `{"WAN":${wan},"Datacenter":"dc1","Segment":"","Keys":{${keys}},"PrimaryKeys":{${primary}},"NumNodes":1}`,
    )
    .join(',')

const steps: [method: string, query: string, body: string | undefined, status: number, text: string][] = [
  ['GET', '', undefined, 200, `[${pools(`"${key}":1`, `"${key}":1`)}]`],
  ['GET', '?local-only', undefined, 200, `[${pools(`"${key}":1`, `"${key}":1`)}]`],
  ['GET', '?local-only=true', undefined, 200, `[${pools(`"${key}":1`, `"${key}":1`).replace(/^.*?},{"/, '{"')}]`],
  [
    'GET',
    '?local-only=x',
    undefined,
    400,
    'Bad request: Error parsing local-only: strconv.ParseBool: parsing "x": invalid syntax',
  ],
  [
    'GET',
    '?relay-factor=9',
    undefined,
    400,
    'Bad request: Invalid relay-factor: Relay factor must be in range: [0, 5]',
  ],
  [
    'GET',
    '?relay-factor=x',
    undefined,
    400,
    'Bad request: Error parsing relay factor: strconv.Atoi: parsing "x": invalid syntax',
  ],
  ['PUT', '', '{"Key":"AAAA"}', 500, each('Requested key is not in the keyring')],
  ['PUT', '', `{"Key":"${other}"}`, 500, each('Requested key is not in the keyring')],
  ['POST', '', '{"Key":"AAAA"}', 500, each('key size must be 16, 24 or 32 bytes')],
  ['POST', '', '{"Key":""}', 500, each('key size must be 16, 24 or 32 bytes')],
  ['POST', '', '{}', 500, each('key size must be 16, 24 or 32 bytes')],
  [
    'POST',
    '',
    '{"Key":"abc"}',
    500,
    '2 errors occurred:\n\t* WAN error: illegal base64 data at input byte 0\n' +
      '\t* dc1 (LAN) error: illegal base64 data at input byte 0\n\n',
  ],
  ['POST', '', '', 400, 'Bad request: Request decode failed: EOF'],
  ['POST', '', 'x', 400, "Bad request: Request decode failed: invalid character 'x' looking for beginning of value"],
  [
    'POST',
    '?local-only=true',
    `{"Key":"${other}"}`,
    400,
    'Bad request: Invalid use of local-only: local-only can only be set for list requests',
  ],
  ['DELETE', '', `{"Key":"${key}"}`, 500, each('Removing the primary key is not allowed')],
  ['DELETE', '', `{"Key":"${other}"}`, 200, ''],
  ['POST', '?relay-factor=2', `{"Key":"${other}"}`, 200, ''],
  ['POST', '', `{"key":"${other}"}`, 200, ''],
  ['GET', '', undefined, 200, `[${pools(`"${key}":1,"${other}":1`, `"${key}":1`)}]`],
  ['PUT', '', `{"Key":"${other}"}`, 200, ''],
  ['DELETE', '', `{"Key":"${key}"}`, 200, ''],
  ['GET', '', undefined, 200, `[${pools(`"${other}":1`, `"${other}":1`)}]`],
  ['PATCH', '', undefined, 405, 'method PATCH not allowed'],
]

describe('the keyring', () => {
  const node = new SingleNode({ key })
  for (const [method, query, body, status, text] of steps) {
    it(`${method} ${query} ${body ?? ''}: ${status}`, async () => {
      const answer = await node.ask(method, path + query, body)
      assert.equal(answer.text, text)
      assert.equal(answer.status, status)
      const type = status === 200 ? (text === '' ? null : 'application/json') : 'text/plain; charset=utf-8'
      assert.equal(answer.headers.get('Content-Type'), type)
      if (status === 405) assert.equal(answer.headers.get('Allow'), 'OPTIONS,GET,POST,PUT,DELETE')
    })
  }

  it('of an agent that does not encrypt is empty', async () => {
    const plain = new SingleNode()
    const answer = await plain.ask('GET', path)
    assert.equal(answer.status, 500)
    assert.equal(answer.text, each('Keyring is empty (encryption not enabled)'))
  })
})
