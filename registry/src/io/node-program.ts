/**
 * Script checks: a program of this host, run as Consul runs it (`agent/checks/check.go`). Never through a shell; in a
 * process group of its own, which ends as a whole when its time is up.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import type { Millis } from '../model.ts'
import type { ProbeOutcome } from './io.ts'
import { Kept } from './kept.ts'

/** Programs that are just starting: more at once would only wait for the processor, and keep it from all others. */
const startingMax = 16
/** After this long a program is one that waits, not one that works: its place is another's, so that who hangs blocks nobody. */
const startingFor: Millis = 250

export interface Program {
  args: string[]
  timeout: Millis
  /** Bytes of output kept, the last ones. */
  outputMax: number
}

export class Programs {
  readonly #running = new Set<ChildProcess>()
  readonly #waiting: (() => void)[] = []
  #starting = 0
  #closed = false

  /** Exit code 0 is passing, 1 a warning, all else critical. Its time begins when it starts, not while it waits. */
  async run(program: Program): Promise<ProbeOutcome> {
    const ended = await this.exec(program)
    if ('reason' in ended) return { status: 'critical', output: ended.reason }
    const status = ended.code === 0 ? 'passing' : ended.code === 1 ? 'warning' : 'critical'
    return { status, output: ended.output }
  }

  /** How a program ended, or why it did not in time or never began. */
  async exec({ args, timeout, outputMax }: Program): Promise<{ code: number; output: string } | { reason: string }> {
    const leave = await this.#place()
    if (this.#closed) {
      leave()
      return { reason: 'the agent is stopping' }
    }
    const [name = '', ...rest] = args
    return new Promise((resolve) => {
      const kept = new Kept(outputMax)
      let child: ChildProcess
      try {
        child = spawn(name, rest, { detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
      } catch (error) {
        leave()
        resolve({ reason: startError(error, name) })
        return
      }
      this.#running.add(child)
      const settled = setTimeout(leave, startingFor)
      const timer = setTimeout(() => {
        endGroup(child)
        // Who left the group with the pipes in hand is not waited for.
        child.stdout?.destroy()
        child.stderr?.destroy()
        const said = kept.text() === '' ? '' : `\n\n${kept.text()}`
        done({ reason: `Timed out (${timeout / 1000}s) running check${said}` })
      }, timeout)
      const done = (ended: { code: number; output: string } | { reason: string }) => {
        clearTimeout(timer)
        clearTimeout(settled)
        leave()
        resolve(ended)
      }
      child.stdout?.on('data', (bytes: Buffer) => kept.add(bytes))
      child.stderr?.on('data', (bytes: Buffer) => kept.add(bytes))
      child.once('exit', () => this.#running.delete(child))
      child.once('error', (error) => {
        this.#running.delete(child)
        done({ reason: startError(error, name) })
      })
      // Not 'exit': what it said last may still be on its way. Ended by a signal is critical.
      child.once('close', (code) => done({ code: code ?? 2, output: kept.text() }))
    })
  }

  /** Ends what runs. */
  close(): void {
    this.#closed = true
    for (const child of this.#running) endGroup(child)
    for (const go of this.#waiting.splice(0)) go()
  }

  /** Resolves to what gives the place back; only its first call counts. */
  async #place(): Promise<() => void> {
    if (this.#starting >= startingMax && !this.#closed) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    } else this.#starting++
    let held = true
    return () => {
      if (!held) return
      held = false
      const next = this.#waiting.shift()
      if (next === undefined) this.#starting--
      else next()
    }
  }
}

function endGroup(child: ChildProcess): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch {
    // It is gone already.
  }
}

/** In the words of Go's os/exec. */
function startError(error: unknown, name: string): string {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'ENOENT' && !name.includes('/'))
    return `exec: ${JSON.stringify(name)}: executable file not found in $PATH`
  if (code === 'ENOENT') return `fork/exec ${name}: no such file or directory`
  if (code === 'EACCES') return `fork/exec ${name}: permission denied`
  return message
}
