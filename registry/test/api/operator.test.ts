/** Answers as Consul 1.8.7 gave them, recorded and tried by hand. */
import assert from 'node:assert/strict'
import { autopilotDefault } from '../../src/model.ts'
import { SingleNode } from './surface.ts'

const configuration = '/v1/operator/autopilot/configuration'

describe('/v1/operator/raft', () => {
  it('configuration: who is in it', async () => {
    const node = new SingleNode()
    for (const query of ['', '?stale', '?dc=dc1']) {
      const { status, text, headers } = await node.ask('GET', `/v1/operator/raft/configuration${query}`)
      assert.equal(status, 200)
      assert.equal(headers.get('X-Consul-Index'), null)
      assert.equal(
        text,
        '{"Servers":[{"ID":"c7ae8d2f-6635-46e7-e511-60dc18502a87","Node":"golden","Address":"127.0.0.1:18300","Leader":true,"ProtocolVersion":"3","Voter":true}],"Index":0}',
      )
    }
    const elsewhere = await node.ask('GET', '/v1/operator/raft/configuration?dc=dc9')
    assert.deepEqual([elsewhere.status, elsewhere.text], [500, 'No path to datacenter'])
  })

  it('without a leader: 500, its name', async () => {
    const node = new SingleNode({ leading: false })
    const { status, text } = await node.ask('GET', '/v1/operator/raft/configuration')
    assert.deepEqual([status, text], [500, 'No cluster leader'])
  })

  for (const [query, expected, words] of [
    ['', 400, "Bad request: Must specify either ?id with the server's ID or ?address with IP:port of peer to remove"],
    ['?id=abc&address=x', 400, 'Bad request: Must specify only one of ?id or ?address'],
    ['?id=&address=x', 400, 'Bad request: Must specify only one of ?id or ?address'],
    ['?id=', 500, 'id "" was not found in the Raft configuration'],
    ['?id=abc', 500, 'id "abc" was not found in the Raft configuration'],
    ['?address=1.1.1.1:8300', 500, 'address "1.1.1.1:8300" was not found in the Raft configuration'],
    ['?address=127.0.0.1:18300', 200, ''],
  ] as const) {
    it(`peer${query}: ${expected} ${words}`, async () => {
      const { status, text } = await new SingleNode().ask('DELETE', `/v1/operator/raft/peer${query}`)
      assert.deepEqual([status, text], [expected, words])
    })
  }
})

describe('/v1/operator/autopilot/configuration', () => {
  const set = (node: SingleNode) => node.apply({ type: 'autopilot.set', configuration: autopilotDefault })

  it('is shown with durations as Go writes them, and when it was set', async () => {
    const node = new SingleNode()
    const { index } = set(node)
    const { status, text } = await node.ask('GET', configuration)
    assert.equal(status, 200)
    assert.equal(
      text,
      `{"CleanupDeadServers":true,"LastContactThreshold":"200ms","MaxTrailingLogs":250,"MinQuorum":0,"ServerStabilizationTime":"10s","RedundancyZoneTag":"","DisableUpgradeMigration":false,"UpgradeVersionTag":"","CreateIndex":${index},"ModifyIndex":${index}}`,
    )
  })

  it('is set as a whole: what is left out is nothing; null sets all of it so', async () => {
    const node = new SingleNode()
    set(node)
    const body =
      '{"lastcontactthreshold":"1.5s", "MAXTRAILINGLOGS": 10, "ModifyIndex": 3, "ServerStabilizationTime":200}'
    assert.equal((await node.ask('PUT', configuration, body)).text, 'true')
    const { CreateIndex, ModifyIndex, ...rest } = (await node.ask('GET', configuration)).json()
    assert.ok(ModifyIndex > CreateIndex)
    assert.deepEqual(rest, {
      CleanupDeadServers: false,
      LastContactThreshold: '1.5s',
      MaxTrailingLogs: 10,
      MinQuorum: 0,
      ServerStabilizationTime: '200ns',
      RedundancyZoneTag: '',
      DisableUpgradeMigration: false,
      UpgradeVersionTag: '',
    })
    assert.equal((await node.ask('PUT', configuration, 'null')).text, 'true')
    assert.equal((await node.ask('GET', configuration)).json().LastContactThreshold, '0s')
  })

  it('what it answers can be sent again, whatever was set', async () => {
    const node = new SingleNode()
    set(node)
    for (const body of [
      '{"MaxTrailingLogs":18446744073709551615,"MinQuorum":18446744073709551615}',
      '{"LastContactThreshold":9223372036853000000,"ServerStabilizationTime":-9223372036853000000}',
      '{"LastContactThreshold":"2562047h47m16s","ServerStabilizationTime":"-0.5ns"}',
    ]) {
      assert.equal((await node.ask('PUT', configuration, body)).text, 'true', body)
      const told = (await node.ask('GET', configuration)).text
      const again = await node.ask('PUT', configuration, told)
      assert.equal(again.text, 'true', `${told}: ${again.text}`)
    }
  })

  it('with ?cas only when it was last set there', async () => {
    const node = new SingleNode()
    const { index } = set(node)
    for (const [cas, done] of [
      [0, 'false'],
      [index - 1, 'false'],
      [index, 'true'],
      [index, 'false'],
    ] as const) {
      const { status, text } = await node.ask('PUT', `${configuration}?cas=${cas}`, '{"MinQuorum":3}')
      assert.deepEqual([status, text], [200, done])
    }
    assert.equal((await node.ask('GET', configuration)).json().MinQuorum, 3)
  })

  for (const [query, body, words] of [
    ['?cas=abc', '{}', 'cas value: strconv.ParseUint: parsing "abc": invalid syntax'],
    ['?cas=', '{}', 'cas value: strconv.ParseUint: parsing "": invalid syntax'],
    ['', 'x', "autopilot config: invalid character 'x' looking for beginning of value"],
    ['', '', 'autopilot config: EOF'],
    ['', '[]', 'autopilot config: json: cannot unmarshal array into Go value of type api.AutopilotConfiguration'],
    ['', '"x"', 'autopilot config: json: cannot unmarshal string into Go value of type api.AutopilotConfiguration'],
    ['', '{"LastContactThreshold":"abc"}', 'autopilot config: time: invalid duration "abc"'],
    ['', '{"LastContactThreshold":1e300}', 'autopilot config: time: invalid duration "1e+300"'],
    [
      '',
      '{"ServerStabilizationTime":9223372036854775807}',
      'autopilot config: time: invalid duration "9223372036854775807"',
    ],
    ['', '{"ServerStabilizationTime":true}', 'autopilot config: strconv.ParseFloat: parsing "true": invalid syntax'],
    ...(
      [
        ['MaxTrailingLogs', '-1', 'number -1', 'uint64'],
        ['MaxTrailingLogs', '1.5', 'number 1.5', 'uint64'],
        ['MaxTrailingLogs', '"1"', 'string', 'uint64'],
        ['MinQuorum', '-1', 'number -1', 'uint'],
        ['CleanupDeadServers', '"true"', 'string', 'bool'],
      ] as const
    ).map(
      ([field, value, received, type]) =>
        [
          '',
          `{"${field}":${value}}`,
          `autopilot config: json: cannot unmarshal ${received} into Go struct field AutopilotConfiguration.${field} of type ${type}`,
        ] as const,
    ),
  ] as const) {
    it(`PUT ${query} ${body}: 400, ${words}`, async () => {
      const { status, text } = await new SingleNode().ask('PUT', configuration + query, body)
      assert.deepEqual([status, text], [400, `Bad request: Error parsing ${words}`])
    })
  }
})

describe('/v1/operator/autopilot/health', () => {
  it('says how each server is: 200 when all are well, 429 when not', async () => {
    const node = new SingleNode()
    const well = await node.ask('GET', '/v1/operator/autopilot/health')
    assert.equal(well.status, 200)
    assert.equal(
      well.text,
      '{"Healthy":true,"FailureTolerance":0,"Servers":[{"ID":"c7ae8d2f-6635-46e7-e511-60dc18502a87","Name":"golden","Address":"127.0.0.1:18300","SerfStatus":"alive","Version":"1.8.7","Leader":true,"LastContact":"0s","LastTerm":2,"LastIndex":133,"Healthy":true,"Voter":true,"StableSince":"2026-11-22T10:05:39Z"}]}',
    )
    node.healthy = false
    const sick = await node.ask('GET', '/v1/operator/autopilot/health')
    assert.equal(sick.status, 429)
    assert.equal(sick.json().Healthy, false)
  })

  it('state, which is newer than 1.8: 404', async () => {
    assert.equal((await new SingleNode().ask('GET', '/v1/operator/autopilot/state')).status, 404)
  })
})
