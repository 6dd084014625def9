/**
 * `GET /v1/agent/monitor`: what the agent logs, from now on and from any level on, for as long as the client listens. A
 * client that reads too slowly loses lines, and is told how many: the agent neither waits for it nor keeps more than
 * `LineBuffer` holds.
 */
import { BadRequest } from '../errors.ts'
import type { LogLevel } from '../io/io.ts'
import type { Answer, Asked, Endpoint, HttpOptions, LogEntry, LogFeed } from './endpoint.ts'

/** Consul's names of levels, in any case. */
const levels: Readonly<Record<string, LogLevel>> = {
  trace: 'trace',
  debug: 'debug',
  info: 'info',
  warn: 'warn',
  err: 'error',
  error: 'error',
}

/** None without a feed: then there is nothing to follow. */
export function monitorEndpoints({ logs, log }: HttpOptions): Endpoint[] {
  if (logs === undefined) return []
  return [{ path: '/v1/agent/monitor', verbs: { GET: (asked) => monitor(logs, log, asked) } }]
}

function monitor(logs: LogFeed, log: HttpOptions['log'], { query }: Asked): Answer {
  const name = query.get('loglevel') || 'info'
  const level = Object.hasOwn(levels, name.toLowerCase()) ? levels[name.toLowerCase()] : undefined
  if (level === undefined) throw new BadRequest(`Bad request: Unknown log level: ${name}`)
  // As in Consul, the parameter counts whatever its value.
  const format = query.has('logjson') ? jsonLine : textLine
  const buffer = new LineBuffer(format)
  let unfollow = () => {}
  const stream = new ReadableStream<Uint8Array>(
    {
      start: (controller) => {
        unfollow = logs.follow({
          level,
          receive: (entry) => buffer.push(entry),
          ended: () => buffer.end(),
        })
        buffer.onEnd = () => controller.close()
      },
      pull: async (controller) => {
        const lines = await buffer.take()
        if (lines !== undefined) controller.enqueue(lines)
      },
      cancel: () => {
        unfollow()
        buffer.onEnd = () => {}
        buffer.end()
        const { dropped } = buffer
        if (dropped > 0) log('warn', 'agent', droppedMessage, { dropped_count: dropped })
      },
    },
    // Nothing is taken before somebody reads: what waits, waits where it is counted.
    { highWaterMark: 0 },
  )
  return { status: 200, headers: {}, body: '', stream }
}

const droppedMessage = 'Dropped logs during monitor request'
/** Consul's number of lines; and so many bytes, for a line may be long. */
const linesMax = 512
const bytesMax = 256 * 1024

/** Lines that wait for a reader. What does not fit is counted, and said after what was kept before it. */
export class LineBuffer {
  readonly #format: (entry: LogEntry) => string
  #lines: Uint8Array[] = []
  #bytes = 0
  /** Since it was said last, and when the last of them came. */
  #unsaid = 0
  #unsaidAt = ''
  #ended = false
  #waiting: (() => void) | undefined
  /** How many lines did not fit. */
  dropped = 0
  /** Called once everything was taken after the end. */
  onEnd = () => {}

  constructor(format: (entry: LogEntry) => string) {
    this.#format = format
  }

  push(entry: LogEntry): void {
    if (this.#ended) return
    const lines = [...this.#lost(), this.#encoded(entry)]
    const bytes = lines.reduce((sum, { length }) => sum + length, 0)
    if (this.#lines.length + lines.length > linesMax || this.#bytes + bytes > bytesMax) {
      this.dropped++
      this.#unsaid++
      this.#unsaidAt = entry.at
    } else this.#keep(lines)
    this.#wake()
  }

  end(): void {
    this.#ended = true
    this.#wake()
  }

  /** All that waits, as soon as there is something. Undefined: it has ended, and `onEnd` was called. */
  async take(): Promise<Uint8Array | undefined> {
    while (this.#lines.length === 0 && this.#unsaid === 0 && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#waiting = resolve
      })
    }
    this.#keep(this.#lost())
    if (this.#lines.length === 0) {
      this.onEnd()
      return undefined
    }
    const taken = Buffer.concat(this.#lines, this.#bytes)
    this.#lines = []
    this.#bytes = 0
    return taken
  }

  #encoded(entry: LogEntry): Uint8Array {
    return encoder.encode(`${this.#format(entry)}\n`)
  }

  /** What is to be said before anything else. */
  #lost(): Uint8Array[] {
    if (this.#unsaid === 0) return []
    const fields = { dropped_count: this.#unsaid }
    return [this.#encoded({ level: 'warn', area: 'agent', message: droppedMessage, fields, at: this.#unsaidAt })]
  }

  #keep(lines: Uint8Array[]): void {
    this.#unsaid = 0
    this.#lines.push(...lines)
    for (const { length } of lines) this.#bytes += length
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.()
  }
}

const encoder = new TextEncoder()
const labels: Record<LogLevel, string> = {
  trace: '[TRACE]',
  debug: '[DEBUG]',
  info: '[INFO] ',
  warn: '[WARN] ',
  error: '[ERROR]',
}

/** As Consul 1.8 writes it: `2026-11-22T10:05:46.907Z [INFO]  agent: Synced service: service=web`. */
function textLine({ level, area, message, fields, at }: LogEntry): string {
  const extra = Object.entries(fields).map(([key, value]) => ` ${key}=${shown(value)}`)
  const text = extra.length === 0 ? message : `${message}:${extra.join('')}`
  // Text from elsewhere must not be able to begin a line of its own.
  return `${at} ${labels[level]} ${area}: ${text.replaceAll(/[\r\n]+\s*/g, ' | ')}`
}

/** As Consul's, whose keys are in order and whose times have microseconds. */
function jsonLine({ level, area, message, fields, at }: LogEntry): string {
  const plain = Object.entries(fields).map(
    ([key, value]) => [key, value instanceof Error ? value.message : value] as const,
  )
  return JSON.stringify({
    '@level': level,
    '@message': message,
    '@module': area,
    '@timestamp': at.replace('Z', '000Z'),
    ...Object.fromEntries(plain.sort(([one], [other]) => (one < other ? -1 : 1))),
  })
}

function shown(value: unknown): string {
  const text = typeof value === 'string' ? value : value instanceof Error ? value.message : JSON.stringify(value)
  if (text === undefined) return ''
  return /[\s"=]/.test(text) || text === '' ? JSON.stringify(text) : text
}
