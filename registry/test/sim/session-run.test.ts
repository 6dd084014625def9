import assert from 'node:assert/strict'
import { runSessions } from './session-run.ts'

describe('the clocks of sessions, with leaders that come and go', () => {
  it('end no session before its time, and each in the end, in 200 seeds', () => {
    let ended = 0
    let renewals = 0
    let terms = 0
    for (let seed = 1; seed <= 200; seed++) {
      const result = runSessions(seed)
      assert.equal(result.failure, undefined, `seed ${seed}`)
      ended += result.ended
      renewals += result.renewals
      terms += result.terms
    }
    assert.ok(ended > 1000 && renewals > 2000 && terms > 2000, `${ended} ended, ${renewals} renewals, ${terms} terms`)
  })
})
