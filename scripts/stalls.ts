/**
 * How long the event loop of a process is held, seen from inside it: to be loaded before any program by
 * `node --import scripts/stalls.ts`, or NODE_OPTIONS. A timer is due every 10 ms; how much later it comes is how long
 * whatever else had come would have waited. The process may also just have waited for a core that another program had:
 * Linux knows how long, and so that is told apart. Gaps of 5 ms and more go as lines of JSON to the file that STALLS names,
 * twice a second, with the pauses of the garbage collector that were as long.
 */
import { openSync, readSync, writeSync } from 'node:fs'
import { PerformanceObserver } from 'node:perf_hooks'

export interface Stall {
  /** Milliseconds since 1970, at its end. */
  at: number
  /** `gc`: within one of the others. */
  kind: 'loop' | 'gc'
  millis: number
  /** Of these, how long the thread was ready to run and other threads had the cores. */
  waited: number
}

const due = 10
const least = 5

function watch(file: string): void {
  const out = openSync(file, 'a')
  // schedstat: nanoseconds on a core, nanoseconds waiting for one, and how often (Documentation/scheduler/sched-stats).
  const schedule = openSync('/proc/thread-self/schedstat', 'r')
  const bytes = Buffer.alloc(100)
  const waitedSoFar = () =>
    Number(bytes.toString('latin1', 0, readSync(schedule, bytes, 0, bytes.length, 0)).split(' ')[1]) / 1e6
  let lines: Stall[] = []
  let last = performance.now()
  let lastWaited = waitedSoFar()
  setInterval(() => {
    const now = performance.now()
    const waited = waitedSoFar()
    const millis = now - last - due
    if (millis >= least) lines.push({ at: Date.now(), kind: 'loop', millis, waited: waited - lastWaited })
    last = now
    lastWaited = waited
  }, due).unref()
  new PerformanceObserver((list) => {
    for (const { duration, startTime } of list.getEntries()) {
      const at = performance.timeOrigin + startTime + duration
      if (duration >= least) lines.push({ at, kind: 'gc', millis: duration, waited: 0 })
    }
  }).observe({ entryTypes: ['gc'] })
  setInterval(() => {
    if (lines.length === 0) return
    writeSync(out, lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
    lines = []
  }, 500).unref()
}

if (process.env.STALLS !== undefined) watch(process.env.STALLS)
