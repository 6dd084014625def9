/**
 * Log lines for people (`    2026/11/25 09:03:30 [INFO] raft: …`, as Consul wrote them) or as JSON for machines; and the
 * same entries, of any level, for those who follow them.
 */
import type { Follower, LogFeed } from '../http/endpoint.ts'
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

export interface Logger extends LogFeed {
  log: Log
  /** Lets out the lines that came so far, and from now on each as it comes. */
  open(): void
  setLevel(level: LogLevel): void
  /** Tells all who follow that no more will come. */
  end(): void
}

/** A log that keeps its lines until `open`, so that they come after the start-up text. */
export function logger({ level: first, json, wall, write }: LogOptions): Logger {
  let level = first
  let held: string[] | undefined = []
  const followers = new Set<Follower>()
  const put = (line: string) => {
    if (held === undefined) write(line)
    else held.push(line)
  }
  return {
    log: (lineLevel, area, message, fields = {}) => {
      const rank = ranks[lineLevel]
      if (rank < ranks[level] && followers.size === 0) return
      const when = new Date(wall())
      if (rank >= ranks[level]) put((json ? jsonLine : textLine)(lineLevel, area, message, fields, when))
      if (followers.size === 0) return
      const entry = { level: lineLevel, area, message, fields, at: when.toISOString() }
      for (const follower of followers) {
        if (rank >= ranks[follower.level]) follower.receive(entry)
      }
    },
    open: () => {
      const lines = held ?? []
      held = undefined
      for (const line of lines) write(line)
    },
    setLevel: (changed) => {
      level = changed
    },
    follow: (follower) => {
      followers.add(follower)
      return () => {
        followers.delete(follower)
      }
    },
    end: () => {
      const all = [...followers]
      followers.clear()
      for (const follower of all) follower.ended()
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
