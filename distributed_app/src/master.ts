/**
 * The master process: starts a process per worker and starts it again when it ends, later and later while it ends at
 * once. Passes a stop on to them and ends when they have, or after a time-out without them.
 */
import { type ChildProcess, spawn } from 'node:child_process'

export interface MasterOptions {
  workers: number
  /** Told to a worker in the environment. */
  variable: string
  log: (line: string) => void
  /** Called once, when the last worker has ended after `stop`. */
  onStopped: () => void
}

const restartMin = 100
const restartMax = 5000
/** A worker that lived so long starts with the shortest wait again. */
const steadyAfter = 10_000
/** Workers get this long to deregister; together with the rest less than two seconds. */
const stopWithin = 1600

export class Master {
  readonly #options: MasterOptions
  readonly #running = new Map<number, ChildProcess>()
  readonly #waiting = new Map<number, NodeJS.Timeout>()
  #stopping = false

  constructor(options: MasterOptions) {
    this.#options = options
  }

  start(): void {
    for (let number = 1; number <= this.#options.workers; number++) this.#start(number, restartMin)
  }

  stop(): void {
    if (this.#stopping) return
    this.#stopping = true
    for (const timer of this.#waiting.values()) clearTimeout(timer)
    for (const child of this.#running.values()) child.kill('SIGTERM')
    setTimeout(() => {
      // Their registrations end with their TTL.
      for (const child of this.#running.values()) child.kill('SIGKILL')
    }, stopWithin).unref()
    if (this.#running.size === 0) this.#options.onStopped()
  }

  /** @param wait before this worker is started again, should it end soon */
  #start(number: number, wait: number): void {
    const startedAt = performance.now()
    const program = process.argv[1]
    if (program === undefined) throw new Error('the program to start as a worker is not known')
    // The channel is how a worker learns that its master is gone, whatever way it went.
    const child = spawn(process.execPath, [...process.execArgv, program, ...process.argv.slice(2)], {
      env: { ...process.env, [this.#options.variable]: String(number) },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    this.#running.set(number, child)
    let ended = false
    const end = (how: string) => {
      if (ended) return
      ended = true
      this.#running.delete(number)
      if (this.#stopping) {
        if (this.#running.size === 0) this.#options.onStopped()
        return
      }
      const steady = performance.now() - startedAt >= steadyAfter
      const next = steady ? restartMin : wait
      this.#options.log(`[master] worker ${number} ended (${how}), starting it again in ${next} ms`)
      const timer = setTimeout(() => {
        this.#waiting.delete(number)
        this.#start(number, Math.min(next * 2, restartMax))
      }, next)
      this.#waiting.set(number, timer)
    }
    child.on('exit', (code, signal) => end(signal ?? `exit ${code}`))
    child.on('error', (error) => end(error.message))
  }
}
