import assert from 'node:assert/strict'
import fc from 'fast-check'
import { Random } from '../io/random.ts'
import type { CheckStatus } from '../model.ts'
import { Checks, deregisterAfterMin, timeoutDefault } from './checks.ts'
import type { CheckDefinition } from './definition.ts'

function definition(changes: Partial<CheckDefinition> = {}): CheckDefinition {
  return {
    id: 'c',
    name: 'a check',
    notes: '',
    serviceId: 'web',
    initialStatus: 'critical',
    initialOutput: '',
    successesBeforePassing: 0,
    failuresBeforeCritical: 0,
    deregisterServiceAfter: 0,
    how: { type: 'ttl', ttl: 10_000 },
    ...changes,
  }
}

function tcp(changes: Partial<CheckDefinition> = {}, interval = 10_000): CheckDefinition {
  return definition({ how: { type: 'tcp', target: 'localhost:80', interval, timeout: 2_000 }, ...changes })
}

/** Runs the check once, as soon as it is due. @returns when. */
function probe(checks: Checks, from: number, status: CheckStatus, output = `is ${status}`): number {
  for (let now = from; ; now += 100) {
    assert.ok(now < from + 60_000, 'the check never became due')
    const [due] = checks.due(now)
    if (due === undefined) continue
    checks.finished(due.id, due.run, { status, output }, now)
    return now
  }
}

function statusOf(checks: Checks, id = 'c') {
  const { status, output } = checks.get(id) ?? assert.fail(`no check ${id}`)
  return { status, output }
}

describe('checks', () => {
  let checks: Checks
  beforeEach(() => {
    checks = new Checks(new Random(1))
  })

  describe('a TTL check', () => {
    it('begins as its definition says, and that is news', () => {
      checks.set(definition({ initialOutput: 'new' }), 0)
      assert.deepEqual(statusOf(checks), { status: 'critical', output: 'new' })
      assert.deepEqual(checks.changes(), ['c'])
      assert.deepEqual(checks.changes(), [])
    })

    it('begins with what was kept on disk', () => {
      checks.set(definition(), 0, { status: 'passing', output: 'kept' })
      assert.deepEqual(statusOf(checks), { status: 'passing', output: 'kept' })
    })

    it('is as its owner says until the TTL runs out, and then critical with what it said last', () => {
      checks.set(definition(), 0)
      assert.equal(checks.ttl('c', 'passing', 'fine', 5_000), 'ok')
      checks.tick(14_999)
      assert.deepEqual(statusOf(checks), { status: 'passing', output: 'fine' })
      checks.tick(15_000)
      assert.deepEqual(statusOf(checks), {
        status: 'critical',
        output: 'TTL expired (last output before timeout follows): fine',
      })
    })

    it('that never heard from its owner says just that', () => {
      checks.set(definition(), 0)
      checks.tick(10_000)
      assert.deepEqual(statusOf(checks), { status: 'critical', output: 'TTL expired' })
    })

    it('expires once, and lives again when refreshed', () => {
      checks.set(definition(), 0)
      checks.tick(10_000)
      checks.changes()
      checks.tick(50_000)
      assert.deepEqual(checks.changes(), [])
      checks.ttl('c', 'warning', 'slow', 50_000)
      assert.deepEqual(statusOf(checks), { status: 'warning', output: 'slow' })
      checks.tick(60_000)
      assert.equal(statusOf(checks).status, 'critical')
    })

    it('is refreshed by any status, and only a change is news', () => {
      checks.set(definition(), 0)
      checks.ttl('c', 'passing', 'fine', 1_000)
      assert.deepEqual(checks.changes(), ['c'])
      checks.ttl('c', 'passing', 'fine', 9_000)
      assert.deepEqual(checks.changes(), [])
      checks.ttl('c', 'passing', 'finer', 9_100)
      assert.deepEqual(checks.changes(), ['c'])
      checks.tick(19_000)
      assert.equal(statusOf(checks).status, 'passing')
    })

    it('keeps 4096 bytes of output, in whole characters, and says how much there was', () => {
      checks.set(definition(), 0)
      checks.ttl('c', 'passing', 'x'.repeat(9_000), 0)
      assert.equal(statusOf(checks).output, `${'x'.repeat(4096)} ... (captured 4096 of 9000 bytes)`)
      checks.ttl('c', 'passing', `x${'é'.repeat(4_000)}`, 0)
      assert.equal(statusOf(checks).output, `x${'é'.repeat(2047)} ... (captured 4096 of 8001 bytes)`)
    })

    it('does not wait for thresholds', () => {
      checks.set(definition({ successesBeforePassing: 3, failuresBeforeCritical: 3 }), 0)
      for (const status of ['passing', 'critical', 'passing'] as const) {
        checks.ttl('c', status, '', 0)
        assert.equal(statusOf(checks).status, status)
      }
    })

    it('is given the time the process stood still', () => {
      checks.set(definition(), 0)
      checks.ttl('c', 'passing', 'fine', 0)
      checks.stall(30_000)
      checks.tick(39_999)
      assert.equal(statusOf(checks).status, 'passing')
      checks.tick(40_000)
      assert.equal(statusOf(checks).status, 'critical')
    })

    it('is never due for a probe', () => {
      checks.set(definition(), 0)
      assert.deepEqual(checks.due(1e9), [])
    })
  })

  it('only TTL checks that exist can be refreshed', () => {
    checks.set(tcp(), 0)
    assert.equal(checks.ttl('c', 'passing', '', 0), 'notTtl')
    assert.equal(checks.ttl('other', 'passing', '', 0), 'unknown')
  })

  describe('a probed check', () => {
    it('first runs somewhere within its interval, not all at once', () => {
      for (let each = 0; each < 200; each++) checks.set(tcp({ id: `c${each}` }), 1_000)
      const firsts: number[] = []
      for (let now = 1_000; now <= 11_000; now += 1_000) firsts.push(checks.due(now).length)
      assert.equal(
        firsts.reduce((sum, count) => sum + count),
        200,
      )
      for (const count of firsts.slice(1)) assert.ok(count > 5 && count < 45, `${firsts}`)
    })

    it('asks for what its definition says', () => {
      checks.set(tcp(), 0)
      assert.deepEqual(checks.due(10_000), [
        { id: 'c', run: 1, request: { kind: 'tcp', target: 'localhost:80', timeout: 2_000 } },
      ])
      const http = {
        url: 'http://localhost/health',
        method: 'GET',
        headers: { a: ['b'] },
        body: '',
        tlsSkipVerify: true,
        outputMax: 100,
      }
      checks.set(definition({ how: { type: 'http', ...http, interval: 1_000, timeout: 0 } }), 0)
      assert.deepEqual(checks.due(10_000)[0]?.request, { kind: 'http', ...http, timeout: timeoutDefault })
    })

    it('is not due again while it runs, and then an interval after it ended', () => {
      checks.set(tcp(), 0)
      const [due] = checks.due(10_000)
      assert.deepEqual(checks.due(100_000), [])
      checks.finished('c', due!.run, { status: 'passing', output: '' }, 100_000)
      assert.deepEqual(checks.due(109_999), [])
      assert.equal(checks.due(110_000).length, 1)
    })

    it('runs at most once a second', () => {
      checks.set(tcp({}, 10), 0)
      const ended = probe(checks, 0, 'passing')
      assert.deepEqual(checks.due(ended + 999), [])
      assert.equal(checks.due(ended + 1_000).length, 1)
    })

    it('takes the first result at once, whatever the thresholds', () => {
      for (const status of ['passing', 'critical'] as const) {
        checks.set(
          tcp({
            id: status,
            initialStatus: 'warning',
            successesBeforePassing: 3,
            failuresBeforeCritical: 3,
          }),
          0,
        )
      }
      for (const { id, run } of checks.due(10_000)) {
        checks.finished(id, run, { status: id as CheckStatus, output: 'first' }, 10_000)
      }
      assert.deepEqual(statusOf(checks, 'passing'), { status: 'passing', output: 'first' })
      assert.deepEqual(statusOf(checks, 'critical'), { status: 'critical', output: 'first' })
    })

    it('turns after as many results in a row as its thresholds say, and keeps its output until then', () => {
      checks.set(tcp({ successesBeforePassing: 2, failuresBeforeCritical: 3 }), 0)
      let now = probe(checks, 0, 'passing', 'up')
      for (const [status, output, expected] of [
        ['critical', 'down 1', 'up'],
        ['critical', 'down 2', 'up'],
        ['passing', 'up again', 'up'],
        ['critical', 'down 3', 'up'],
        ['critical', 'down 4', 'up'],
        ['critical', 'down 5', 'down 5'],
        ['passing', 'back 1', 'down 5'],
        ['critical', 'down 6', 'down 5'],
        ['passing', 'back 2', 'down 5'],
        ['passing', 'back 3', 'back 3'],
      ] as const) {
        now = probe(checks, now, status, output)
        assert.equal(statusOf(checks).output, expected, output)
      }
    })

    it('counts a warning as a success', () => {
      checks.set(tcp({ successesBeforePassing: 2 }), 0)
      let now = probe(checks, 0, 'critical')
      now = probe(checks, now, 'warning')
      assert.equal(statusOf(checks).status, 'critical')
      now = probe(checks, now, 'passing')
      assert.equal(statusOf(checks).status, 'passing')
      probe(checks, now, 'warning')
      assert.equal(statusOf(checks).status, 'warning')
    })

    it('ignores the outcome of a former life', () => {
      checks.set(tcp(), 0)
      const [old] = checks.due(10_000)
      checks.set(tcp({ notes: 'changed' }), 10_000)
      checks.finished('c', old!.run, { status: 'passing', output: 'late' }, 10_001)
      assert.equal(statusOf(checks).status, 'critical')
      checks.remove('c')
      checks.finished('c', old!.run, { status: 'passing', output: 'later' }, 10_002)
      assert.equal(checks.get('c'), undefined)
      checks.set(tcp(), 20_000)
      const [renewed] = checks.due(30_000)
      checks.finished('c', old!.run, { status: 'passing', output: 'much later' }, 30_001)
      assert.equal(statusOf(checks).status, 'critical')
      checks.finished('c', renewed!.run, { status: 'passing', output: 'now' }, 30_002)
      assert.equal(statusOf(checks).output, 'now')
    })

    it('runs again when the process stood still during its probe', () => {
      checks.set(tcp(), 0)
      const [due] = checks.due(10_000)
      checks.stall(60_000)
      checks.finished('c', due!.run, { status: 'passing', output: 'timed out?' }, 70_000)
      assert.equal(statusOf(checks).output, '')
      assert.equal(checks.due(70_000).length, 1)
    })
  })

  it('the same definition again changes nothing: status, schedule and deadlines go on', () => {
    checks.set(definition(), 0)
    checks.set(tcp({ id: 'p' }), 0)
    checks.ttl('c', 'passing', 'fine', 5_000)
    const [due] = checks.due(10_000)
    checks.changes()
    checks.set(definition(), 14_000)
    checks.set(tcp({ id: 'p' }), 14_000)
    assert.deepEqual(checks.changes(), [])
    checks.finished('p', due!.run, { status: 'passing', output: 'up' }, 14_000)
    assert.deepEqual(checks.changes(), ['p'])
    checks.tick(15_000)
    assert.deepEqual(checks.changes(), ['c'])
  })

  it('a removed check is no news', () => {
    checks.set(definition(), 0)
    assert.equal(checks.remove('c'), true)
    assert.equal(checks.remove('c'), false)
    assert.deepEqual(checks.changes(), [])
    assert.deepEqual(checks.list(), [])
  })

  describe('deregistering critical services', () => {
    const after = { deregisterServiceAfter: 120_000 }

    it('names a service once one of its checks has been critical for long enough', () => {
      checks.set(definition({ id: 'a', ...after }), 0)
      checks.set(definition({ id: 'b', ...after }), 0)
      checks.ttl('a', 'critical', 'x', 1_000)
      checks.ttl('b', 'critical', 'x', 1_000)
      assert.deepEqual(checks.expired(121_000), [])
      assert.deepEqual(checks.expired(121_001), ['web'])
    })

    it('counts from the first critical result, whatever is said meanwhile, and not from registration', () => {
      checks.set(definition(after), 0)
      assert.deepEqual(checks.expired(1e9), [])
      checks.ttl('c', 'critical', 'x', 1_000)
      checks.ttl('c', 'critical', 'y', 100_000)
      assert.deepEqual(checks.expired(121_001), ['web'])
    })

    it('begins anew when the check was better in between', () => {
      checks.set(definition(after), 0)
      checks.ttl('c', 'critical', 'x', 0)
      checks.ttl('c', 'warning', 'x', 100_000)
      checks.ttl('c', 'critical', 'x', 110_000)
      assert.deepEqual(checks.expired(230_000), [])
      assert.deepEqual(checks.expired(230_001), ['web'])
    })

    it('takes no less than a minute, nothing for 0, and never a check of the node', () => {
      checks.set(definition({ id: 'short', serviceId: 'short', deregisterServiceAfter: 1 }), 0)
      checks.set(definition({ id: 'none', serviceId: 'none' }), 0)
      checks.set(definition({ id: 'node', serviceId: '', deregisterServiceAfter: 1 }), 0)
      for (const id of ['short', 'none', 'node']) checks.ttl(id, 'critical', '', 0)
      assert.deepEqual(checks.expired(deregisterAfterMin), [])
      assert.deepEqual(checks.expired(1e9), ['short'])
    })

    it('does not count the time the process stood still', () => {
      checks.set(definition(after), 0)
      checks.ttl('c', 'critical', '', 0)
      checks.stall(1_000_000)
      assert.deepEqual(checks.expired(1_120_000), [])
      assert.deepEqual(checks.expired(1_120_001), ['web'])
    })
  })

  it('never two probes of a check at once, never a change unreported, whatever happens', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('set' as const), id: fc.constantFrom('a', 'b'), notes: fc.constantFrom('1', '2') }),
      fc.record({ kind: fc.constant('remove' as const), id: fc.constantFrom('a', 'b') }),
      fc.record({ kind: fc.constant('pass' as const), by: fc.integer({ min: 0, max: 5_000 }) }),
      fc.record({
        kind: fc.constant('finish' as const),
        status: fc.constantFrom('passing' as const, 'critical' as const),
      }),
      fc.record({ kind: fc.constant('stall' as const), by: fc.integer({ min: 0, max: 5_000 }) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.nat(), (steps, seed) => {
        const checks = new Checks(new Random(seed))
        const known = new Map<string, string>()
        /** Runs of the present life of each check. */
        const running = new Map<string, number>()
        const underway: { id: string; run: number }[] = []
        let now = 0
        for (const step of steps) {
          if (step.kind === 'set') {
            if (checks.get(step.id)?.definition.notes !== step.notes) running.delete(step.id)
            checks.set(tcp({ id: step.id, notes: step.notes, failuresBeforeCritical: 2 }, 2_000), now)
          } else if (step.kind === 'remove') {
            checks.remove(step.id)
            running.delete(step.id)
            known.delete(step.id)
          } else if (step.kind === 'finish') {
            const ended = underway.shift()
            if (ended === undefined) continue
            if (running.get(ended.id) === ended.run) running.delete(ended.id)
            checks.finished(ended.id, ended.run, { status: step.status, output: `${now}` }, now)
          } else {
            now += step.by
            if (step.kind === 'stall') checks.stall(step.by)
            for (const due of checks.due(now)) {
              assert.equal(running.has(due.id), false)
              running.set(due.id, due.run)
              underway.push(due)
            }
          }
          for (const id of checks.changes()) known.set(id, JSON.stringify(statusOf(checks, id)))
          for (const { definition } of checks.list()) {
            assert.equal(known.get(definition.id), JSON.stringify(statusOf(checks, definition.id)))
          }
        }
      }),
    )
  })

  it('of maintenance says what it said at first, is never probed and takes no word from others', () => {
    const checks = new Checks(new Random(1))
    checks.set(definition({ how: { type: 'maintenance' } }), 0)
    assert.deepEqual(checks.due(1e12), [])
    checks.tick(1e12)
    assert.equal(checks.ttl('c', 'passing', 'fine', 1e12), 'notTtl')
    assert.equal(checks.get('c')?.status, 'critical')
  })

  describe('two thousand at once', () => {
    it('are spread over their interval, each runs once in it, and stay so', () => {
      const count = 2_000
      for (let nth = 0; nth < count; nth++) checks.set({ ...tcp(), id: `c${nth}` }, 0)
      for (let round = 0; round < 3; round++) {
        const ran = new Set<string>()
        let most = 0
        for (let now = round * 10_000; now < (round + 1) * 10_000; now += 100) {
          const due = checks.due(now)
          most = Math.max(most, due.length)
          for (const { id, run } of due) {
            ran.add(id)
            checks.finished(id, run, { status: 'passing', output: '' }, now)
          }
        }
        // 20 in each tenth of a second when they are even; by chance a few more.
        assert.ok(most <= 45, `${most} began in one moment`)
        assert.ok(ran.size >= count * 0.99, `only ${ran.size} ran in round ${round}`)
      }
    })

    it('are not held up by those that hang', () => {
      for (let nth = 0; nth < 2_000; nth++) checks.set({ ...tcp(), id: `c${nth}` }, 0)
      let fine = 0
      for (let now = 0; now <= 30_000; now += 100) {
        for (const { id, run } of checks.due(now)) {
          if (Number(id.slice(1)) < 1_000) continue
          fine++
          checks.finished(id, run, { status: 'passing', output: '' }, now)
        }
      }
      assert.ok(fine >= 2_900, `${fine} of the others ran`)
    })
  })

  it('an alias is as it is told, and is never due', () => {
    checks.set(definition({ how: { type: 'alias', node: '', service: 'db' }, failuresBeforeCritical: 3 }), 0)
    assert.deepEqual(checks.due(1e9), [])
    checks.changes()
    checks.aliased('c', { status: 'passing', output: 'All checks passing.' }, 5)
    assert.deepEqual([statusOf(checks).status, checks.changes()], ['passing', ['c']])
    checks.aliased('none', { status: 'passing', output: '' }, 5)
    checks.set({ ...tcp(), id: 't' }, 0)
    checks.aliased('t', { status: 'passing', output: '' }, 5)
    assert.equal(checks.get('t')?.status, 'critical')
  })

  for (const how of [
    { type: 'udp', target: 'h:1' },
    { type: 'grpc', target: 'h:1', tls: false, tlsSkipVerify: false },
    { type: 'script', args: ['x'], outputMax: 10 },
    { type: 'docker', container: 'c', args: ['x'], outputMax: 10 },
    { type: 'os_service', service: 's' },
  ] as const) {
    it(`a check of the kind ${how.type} has initial status, thresholds and an interval as all have`, () => {
      const interval = 10_000
      const given = { ...how, interval, timeout: 0 } as CheckDefinition['how']
      checks.set(definition({ how: given, initialStatus: 'passing', failuresBeforeCritical: 3 }), 0)
      assert.equal(statusOf(checks).status, 'passing')
      let now = probe(checks, 0, 'passing')
      for (const expected of ['passing', 'passing', 'critical']) {
        const before = now
        now = probe(checks, now, 'critical')
        assert.equal(now - before, interval)
        assert.equal(statusOf(checks).status, expected)
      }
    })
  }
})
