/** Log lines for people (`    2026/11/25 09:03:30 [INFO] raft: …`, as Consul wrote them) or as JSON for machines. */
import type { Log, LogLevel } from '../io/io.ts'

const ranks: Record<LogLevel, number> = { trace: 0, debug: 1, info: 2, warn: 3, error: 4 }
const labels: Record<LogLevel, string> = { trace: 'TRACE', debug: 'DEBUG', info: 'INFO', warn: 'WARN', error: 'ERR' }

export interface LogOptions {
  level: LogLevel
  json: boolean
  /** Milliseconds since 1970. */
  wall: () => number
  write: (line: string) => void
}

/** A log that keeps its lines until `open`, so that they come after the start-up text. */
export function logger({ level, json, wall, write }: LogOptions): { log: Log; open(): void } {
  let held: string[] | undefined = []
  const put = (line: string) => {
    if (held === undefined) write(line)
    else held.push(line)
  }
  return {
    log: (lineLevel, area, message, fields = {}) => {
      if (ranks[lineLevel] < ranks[level]) return
      const when = new Date(wall())
      put(json ? jsonLine(lineLevel, area, message, fields, when) : textLine(lineLevel, area, message, fields, when))
    },
    open: () => {
      const lines = held ?? []
      held = undefined
      for (const line of lines) write(line)
    },
  }
}

function textLine(level: LogLevel, area: string, message: string, fields: Record<string, unknown>, when: Date): string {
  const stamp = when.toISOString().slice(0, 19).replace('T', ' ').replaceAll('-', '/')
  const extra = Object.entries(fields).map(([key, value]) => ` ${key}=${shown(value)}`)
  // Text from elsewhere must not be able to begin a line of its own.
  const text = `${message}${extra.join('')}`.replaceAll(/[\r\n]+\s*/g, ' | ')
  return `    ${stamp} [${labels[level]}] ${area}: ${text}`
}

function jsonLine(level: LogLevel, area: string, message: string, fields: Record<string, unknown>, when: Date): string {
  return JSON.stringify({
    '@level': level,
    '@message': message,
    '@module': area,
    '@timestamp': when.toISOString(),
    ...Object.fromEntries(
      Object.entries(fields).map(([key, value]) => [key, value instanceof Error ? value.message : value]),
    ),
  })
}

function shown(value: unknown): string {
  const text = typeof value === 'string' ? value : value instanceof Error ? value.message : JSON.stringify(value)
  return text === undefined ? '' : /[\s"=]/.test(text) || text === '' ? JSON.stringify(text) : text
}
