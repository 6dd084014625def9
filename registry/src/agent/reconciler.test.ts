import assert from 'node:assert/strict'
import { Random } from '../io/random.ts'
import { Reconciler } from './reconciler.ts'

/** A job whose runs end when the test says so. */
class Job {
  started = 0
  underWay = 0
  most = 0
  #end: { resolve: () => void; reject: (error: Error) => void } | undefined

  readonly work = (): Promise<void> => {
    this.started++
    this.underWay++
    this.most = Math.max(this.most, this.underWay)
    return new Promise<void>((resolve, reject) => {
      this.#end = { resolve, reject }
    }).finally(() => this.underWay--)
  }

  async succeed(): Promise<void> {
    this.#end?.resolve()
    await settled()
  }

  async fail(error = new Error('no')): Promise<void> {
    this.#end?.reject(error)
    await settled()
  }
}

const settled = () => new Promise<void>((resolve) => setImmediate(resolve))

function reconcilerOf(job: Job, every = 1000, failures: { error: unknown; failures: number; backOff: number }[] = []) {
  return new Reconciler({
    work: job.work,
    every,
    backOffMin: 100,
    backOffMax: 800,
    random: new Random(1),
    onFailure: (error, count, backOff) => failures.push({ error, failures: count, backOff }),
  })
}

describe('Reconciler', () => {
  it('runs at the first tick, and then once per period when nobody wakes it', async () => {
    const job = new Job()
    const reconciler = reconcilerOf(job)
    reconciler.tick(0)
    await job.succeed()
    reconciler.tick(999)
    assert.equal(job.started, 1)
    reconciler.tick(1000)
    assert.equal(job.started, 2)
  })

  it('measures the period from the start of a run, so a slow run is followed at once', async () => {
    const job = new Job()
    const reconciler = reconcilerOf(job)
    reconciler.tick(0)
    reconciler.tick(1500)
    assert.equal(job.started, 1)
    await job.succeed()
    reconciler.tick(1600)
    assert.equal(job.started, 2)
  })

  it('runs at the next tick after a wake', async () => {
    const job = new Job()
    const reconciler = reconcilerOf(job)
    reconciler.tick(0)
    await job.succeed()
    reconciler.wake()
    reconciler.tick(1)
    assert.equal(job.started, 2)
  })

  it('makes one more run of many wakes during a run, and never two at a time', async () => {
    const job = new Job()
    const reconciler = reconcilerOf(job, Number.POSITIVE_INFINITY)
    reconciler.tick(0)
    for (let time = 1; time < 50; time++) {
      reconciler.wake()
      reconciler.tick(time)
    }
    assert.equal(job.started, 1)
    await job.succeed()
    reconciler.tick(50)
    assert.equal(job.started, 2)
    await job.succeed()
    reconciler.tick(1_000_000)
    assert.equal(job.started, 2)
    assert.equal(job.most, 1)
  })

  it('tries again after a back-off that doubles to its limit, reports each failure, and starts over after a success', async () => {
    const job = new Job()
    const failures: { error: unknown; failures: number; backOff: number }[] = []
    const reconciler = reconcilerOf(job, Number.POSITIVE_INFINITY, failures)
    let now = 0
    for (const whole of [100, 200, 400, 800, 800]) {
      reconciler.tick(now)
      await job.fail()
      const { backOff } = failures.at(-1)!
      assert.ok(backOff >= whole / 2 && backOff <= whole, `${backOff} of ${whole}`)
      reconciler.tick(++now)
      assert.equal(job.started, failures.length, 'not before the back-off is over')
      now += Math.ceil(backOff)
    }
    assert.deepEqual(
      failures.map((failure) => failure.failures),
      [1, 2, 3, 4, 5],
    )
    reconciler.tick(now)
    await job.succeed()
    assert.equal(reconciler.failures, 0)
    reconciler.wake()
    reconciler.tick(now)
    await job.fail()
    assert.ok(failures.at(-1)!.backOff <= 100)
  })

  it('a wake does not cut a back-off short', async () => {
    const job = new Job()
    const reconciler = reconcilerOf(job)
    reconciler.tick(0)
    await job.fail()
    reconciler.tick(1)
    reconciler.wake()
    reconciler.tick(2)
    assert.equal(job.started, 1)
    reconciler.tick(200)
    assert.equal(job.started, 2)
  })

  it('a job that throws at once counts as a failed run', async () => {
    const failures: unknown[] = []
    const reconciler = new Reconciler({
      work: () => {
        throw new Error('at once')
      },
      every: 1000,
      backOffMin: 1,
      backOffMax: 1,
      random: new Random(1),
      onFailure: (error) => failures.push(error),
    })
    reconciler.tick(0)
    await settled()
    assert.equal(failures.length, 1)
    assert.equal(reconciler.running, false)
  })

  it('stop waits for the run under way and lets none follow', async () => {
    const job = new Job()
    const reconciler = reconcilerOf(job)
    reconciler.tick(0)
    reconciler.wake()
    let stopped = false
    const stopping = reconciler.stop().then(() => {
      stopped = true
    })
    await settled()
    assert.equal(stopped, false)
    await job.succeed()
    await stopping
    reconciler.tick(5000)
    assert.equal(job.started, 1)
  })
})
