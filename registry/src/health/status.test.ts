import assert from 'node:assert/strict'
import { isMaintenance, worstStatus } from './status.ts'

describe('the status of several checks', () => {
  const table: [string[], string][] = [
    [[], 'passing'],
    [['passing', 'passing'], 'passing'],
    [['passing', 'warning'], 'warning'],
    [['warning', 'critical', 'passing'], 'critical'],
    [['passing', 'bogus'], 'warning'],
    [['bogus', 'critical'], 'critical'],
  ]
  for (const [statuses, worst] of table) {
    it(`[${statuses}] is ${worst}`, () => assert.equal(worstStatus(statuses.map((status) => ({ status }))), worst))
  }

  it('maintenance is known by the id of its check', () => {
    assert.equal(isMaintenance('_node_maintenance'), true)
    assert.equal(isMaintenance('_service_maintenance:web'), true)
    assert.equal(isMaintenance('service:web'), false)
  })
})
