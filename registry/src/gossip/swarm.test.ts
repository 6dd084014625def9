/** A hundred members for minutes; `scripts/swarm.ts` asks the same of thousands for an hour. */
import assert from 'node:assert/strict'
import { crashBound, crashes, peace } from '../../test/gossip/swarm-runs.ts'
import { lanConfig } from './config.ts'
import { datagramLengthMax } from './message.ts'

describe('a swarm', function () {
  this.timeout(60_000)

  it('of a hundred knows of a crash within the bound of theory, with every twentieth datagram lost', () => {
    const { mean, bound } = crashBound(lanConfig, 100, 0.05)
    const { most, falseDeaths, largestDatagram } = crashes({ nodes: 100, seed: 1, loss: 0.05, crashes: 10 })
    assert.equal(most.length, 10)
    assert.ok(Math.max(...most) <= bound, `${most.join(' ')} ms, bound ${bound}`)
    const average = most.reduce((sum, took) => sum + took, 0) / most.length
    assert.ok(average <= mean, `${average} ms, theory ${mean}`)
    assert.equal(falseDeaths, 0)
    assert.ok(largestDatagram <= datagramLengthMax, `${largestDatagram}`)
  })

  it('of a hundred takes nobody for dead who lives, with every fifth datagram lost and pauses of up to 2 s', () => {
    const { falseDeaths, first, pauses, suspicions, largestDatagram } = peace({
      nodes: 100,
      // In this one a member once missed a refutation, before it asked the suspect itself.
      seed: 1,
      loss: 0.2,
      pauseMax: 2_000,
      span: 240_000,
    })
    assert.equal(falseDeaths, 0, first.join('\n'))
    assert.ok(pauses > 20 && suspicions > 1_000, `${pauses} ${suspicions}`)
    assert.ok(largestDatagram <= datagramLengthMax, `${largestDatagram}`)
  })

  it('costs each of its members the same, be it ten or two hundred', () => {
    const [few, many] = [10, 200].map((nodes) => peace({ nodes, seed: 1, loss: 0.05, span: 90_000 }))
    assert.ok(few !== undefined && many !== undefined)
    const ratio = (of: 'datagrams' | 'datagramBytes' | 'frames') => many[of] / few[of]
    assert.ok(ratio('datagrams') < 1.2, `${few.datagrams} ${many.datagrams}`)
    assert.ok(ratio('datagramBytes') < 1.25, `${few.datagramBytes} ${many.datagramBytes}`)
    assert.ok(ratio('frames') < 1.2, `${few.frames} ${many.frames}`)
  })
})
