import assert from 'node:assert/strict'
import { incarnations, isNewer, overruling } from './incarnation.ts'

const half = incarnations / 2

describe('incarnations', () => {
  it('go round: after the last comes the first', () => {
    assert.equal(overruling(incarnations - 1, incarnations - 1), 0)
    assert.equal(isNewer(0, incarnations - 1), true)
    assert.equal(isNewer(incarnations - 1, 0), false)
  })

  it('are newer when they are less than half the round ahead', () => {
    for (const own of [0, 1, 77, half - 1, half, incarnations - 1]) {
      const far = (steps: number) => (own + steps) % incarnations
      assert.deepEqual(
        [0, 1, half - 1, half, half + 1, incarnations - 1].map((steps) => isNewer(far(steps), own)),
        [false, true, true, false, false, false],
      )
    }
  })

  it('overrule what is said, in at most three steps that all can follow, whatever it is', () => {
    for (const own of [0, 1, 77, half - 1, half, half + 1, incarnations - 1]) {
      for (const steps of [0, 1, 2 ** 32, half - 2, half - 1, half]) {
        const claimed = (own + steps) % incarnations
        let now = own
        for (let step = 0; step < 3; step++) {
          const next = overruling(now, claimed)
          if (next === undefined) break
          assert.ok(isNewer(next, now))
          now = next
        }
        assert.ok(isNewer(now, claimed), `${own} ${claimed}`)
      }
      assert.equal(overruling(own, (own + half + 1) % incarnations), undefined)
    }
  })
})
