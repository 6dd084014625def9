/** What a command of the command line is: flags, a text of help, and an act that answers with an exit code. */
import type { Client } from '../client/client.ts'
import type { Flag } from './flags.ts'

export interface Call {
  client: Client
  /** Last value of each flag given. */
  given: ReadonlyMap<string, string>
  /** What follows the flags. */
  rest: readonly string[]
  out: (line: string) => void
  /** For errors. */
  err: (line: string) => void
  /** Reads a file, or standard input for `-`. */
  read: (path: string) => Promise<Uint8Array>
  /** Bytes as they are, without a line end. */
  raw: (bytes: Uint8Array) => void
}

export interface Command {
  name: string
  usage: string
  summary: string
  /** Stands before the reason when it throws. Default: `Error`. */
  failing?: string
  flags: readonly Flag[]
  /** @returns the exit code: 0 done, 1 failed, 2 nothing matched */
  run(call: Call): Promise<number>
}

/** Columns two spaces apart, as Consul's command line prints them. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = []
  for (const row of rows) for (const [at, cell] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, cell.length)
  return rows.map((row) =>
    row.map((cell, at) => (at === row.length - 1 ? cell : cell.padEnd((widths[at] ?? 0) + 2))).join(''),
  )
}
