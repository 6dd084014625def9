/** `PUT /v1/txn` beyond what was recorded: limits, freshness, verbs and shapes. */
import assert from 'node:assert/strict'
import { SingleNode } from './surface.ts'

describe('PUT /v1/txn', () => {
  let node: SingleNode
  beforeEach(() => {
    node = new SingleNode()
  })

  const put = (operations: unknown, path = '/v1/txn') =>
    node.ask('PUT', path, typeof operations === 'string' ? operations : JSON.stringify(operations))
  const kv = (Verb: string, Key: string, rest: object = {}) => ({ KV: { Verb, Key, ...rest } })

  it('writes all or nothing, at one index', async () => {
    const done = await put([kv('set', 'a', { Value: 'YQ==' }), kv('cas', 'b', { Value: 'Yg==', Index: 0 })])
    assert.equal(done.status, 200)
    const at = node.index
    assert.deepEqual(
      done.json().Results.map(({ KV }: { KV: { ModifyIndex: number } }) => KV.ModifyIndex),
      [at, at],
    )
    const failed = await put([kv('set', 'c', { Value: 'YQ==' }), kv('cas', 'b', { Value: '', Index: at + 7 })])
    assert.equal(failed.status, 409)
    assert.equal(node.store.kv('c').value, undefined)
  })

  it('keeps all 64 bits of flags, and takes an index of 64 bits as one that never was', async () => {
    const written = await put('[{"KV":{"Verb":"set","Key":"a","Flags":18446744073709551615,"Value":"YQ=="}}]')
    assert.match(written.text, /"Flags":18446744073709551615,/)
    assert.equal(node.store.kv('a').value?.flags, '18446744073709551615')
    const failed = await put('[{"KV":{"Verb":"delete-cas","Key":"a","Index":18446744073709551615}}]')
    assert.match(failed.text, /failed to delete key \\"a\\", index is stale/)
    for (const flags of ['-1', '1.5', '"7"', '18446744073709551616']) {
      const refused = await put(`[{"KV":{"Verb":"set","Key":"a","Flags":${flags}}}]`)
      assert.equal(refused.status, 400)
      assert.match(refused.text, /^Failed to parse body: json: cannot unmarshal .* of type uint64$/)
    }
  })

  it('a condition that holds answers the key without its value', async () => {
    await put([kv('set', 'a', { Value: 'YQ==' })])
    const { status, json } = await put([kv('check-index', 'a', { Index: node.index })])
    assert.equal(status, 200)
    assert.equal(json().Results[0].KV.Value, null)
  })

  it('reads without using the log, and takes the options of a read', async () => {
    await put([kv('set', 'a', { Value: 'YQ==' })])
    const before = node.index
    node.lastContact = 1.5
    const read = await put([kv('get', 'a')], '/v1/txn?stale')
    assert.equal(read.status, 200)
    assert.equal(node.index, before)
    assert.equal(read.json().LastContact, 1_500_000)
    assert.equal(read.headers.get('X-Consul-Lastcontact'), '2')
    assert.equal(read.headers.get('X-Consul-Index'), null)
    assert.equal((await put([kv('get', 'a')], '/v1/txn?stale&consistent')).status, 400)
    // It does not wait, whatever the index.
    assert.equal((await put([kv('get', 'a')], '/v1/txn?index=999&wait=10s')).status, 200)
  })

  it('without a leader only stale reads are answered', async () => {
    await put([kv('set', 'a', { Value: 'YQ==' })])
    node.leading = false
    for (const operations of [[kv('get', 'a')], [kv('set', 'a')], []]) {
      const { status, text } = await put(operations)
      assert.deepEqual([status, text], [500, 'No cluster leader'])
    }
    const stale = await put([kv('get', 'a')], '/v1/txn?stale')
    assert.deepEqual([stale.status, stale.json().KnownLeader], [200, false])
  })

  it('a kind of operation that is not known is refused, unknown fields inside are skipped', async () => {
    assert.equal(
      (await put([{ ...kv('set', 'a'), Session: {} }])).text,
      'Failed to parse body: json: unknown field "Session"',
    )
    assert.equal((await put([{ kv: { verb: 'set', key: 'a', Partition: 'x' } }])).status, 200)
    assert.ok(node.store.kv('a').value)
    const two = await put([{ ...kv('set', 'a'), Node: { Verb: 'get', Node: { Node: 'golden' } } }])
    assert.equal(two.status, 400)
  })

  it('null, and operations that are empty, are no operations', async () => {
    assert.deepEqual((await put('null')).json().Results, [])
    assert.deepEqual((await put([{}, null, { KV: null }])).json().Results, [])
  })

  for (const [what, body, text] of [
    ['a number for an operation', '[1]', 'json: cannot unmarshal number into Go value of type api.TxnOp'],
    ['a text for a body', '"x"', 'json: cannot unmarshal string into Go value of type api.TxnOps'],
    ['a body that breaks off', '[{"KV":', 'unexpected EOF'],
    [
      'a key that is a number',
      '[{"KV":{"Verb":"set","Key":1}}]',
      'json: cannot unmarshal number into Go struct field KVTxnOp.KV.Key of type string',
    ],
  ] as const) {
    it(`${what} is refused`, async () => {
      const refused = await put(body)
      assert.deepEqual([refused.status, refused.text], [400, `Failed to parse body: ${text}`])
    })
  }

  it('what is wrong whatever the state is named with its place, and nothing is written', async () => {
    const before = node.index
    const refused = await put([
      kv('set', 'a'),
      kv('set', ''),
      kv('delete-tree', ''),
      { Node: { Verb: 'set', Node: {} } },
      { Node: { Verb: 'set', Node: { Node: 'n', ID: 'x' } } },
      { Node: { Verb: 'swap', Node: { Node: 'n' } } },
      { Service: { Verb: 'delete', Node: 'n', Service: { ID: 'web' } } },
      { Service: { Verb: 'set', Node: 'n', Service: { Service: 'web', Address: '0.0.0.0' } } },
      { Service: { Verb: 'swap', Node: 'n', Service: { Service: 'web' } } },
      { Check: { Verb: 'swap', Check: { Node: 'n' } } },
    ])
    assert.equal(refused.status, 409)
    assert.deepEqual(
      refused.json().Errors.map(({ OpIndex, What }: { OpIndex: number; What: string }) => `${OpIndex} ${What}`),
      [
        '1 Must provide key',
        '3 Must provide node',
        '4 Bad node ID: uuid string is wrong length',
        '5 unknown Node verb "swap"',
        '6 Must provide service name with ID',
        '7 Invalid service address',
        '8 unknown Service verb "swap"',
        '9 unknown Check verb "swap"',
      ],
    )
    assert.equal(node.index, before)
  })

  it('nodes, services and checks: set, check-and-set, delete', async () => {
    const Node = { Node: 'n', Address: '10.0.0.1' }
    const Service = { Service: 'web', Port: 80, Tags: ['v1'] }
    const Check = { Node: 'n', Name: 'c', Status: 'passing', ServiceID: 'web' }
    const made = await put([
      { Node: { Verb: 'cas', Node } },
      { Service: { Verb: 'cas', Node: 'n', Service } },
      { Check: { Verb: 'cas', Check } },
    ])
    assert.equal(made.status, 200, made.text)
    const at = node.index
    assert.deepEqual(made.json().Results[1].Service.Tags, ['v1'])
    assert.deepEqual(made.json().Results[2].Check.ServiceTags, ['v1'])
    const stale = await put([
      { Node: { Verb: 'cas', Node } },
      { Service: { Verb: 'delete-cas', Node: 'n', Service: { ...Service, ModifyIndex: at + 1 } } },
      { Check: { Verb: 'cas', Check: { ...Check, ModifyIndex: at + 1 } } },
    ])
    assert.equal(stale.json().Errors.length, 3)
    const gone = await put([
      { Check: { Verb: 'delete-cas', Check: { ...Check, ModifyIndex: at } } },
      { Service: { Verb: 'delete-cas', Node: 'n', Service: { ...Service, ModifyIndex: at } } },
      { Node: { Verb: 'delete-cas', Node: { ...Node, ModifyIndex: at } } },
    ])
    assert.deepEqual(gone.json(), { Results: [], Errors: null })
    assert.equal(node.store.node('n').value, undefined)
  })

  it('a body that is too large without saying so is refused as it comes', async () => {
    const large = JSON.stringify([kv('set', 'a', { Value: Buffer.alloc(524_289).toString('base64') })])
    const refused = await node.ask('PUT', '/v1/txn', large, { 'Content-Length': '' })
    assert.equal(refused.status, 413)
    assert.match(refused.text, /max size: 524288 bytes\..*#txn_max_req_len\.$/)
  })
})
