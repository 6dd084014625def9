/**
 * The application's configuration as the registry's KV has it, followed with blocking queries: `follow` asks once and
 * returns when something changed or the wait is over. Whoever owns it calls again, and keeps what it last read while
 * the registry cannot be asked.
 */
import { type Client, nextIndex, textOf } from 'registry/client'
import type { Index, Millis } from 'registry/model'

export interface SettingsOptions {
  client: Client
  /** With its last slash: `distributed_app/config/`. */
  prefix: string
  wait: Millis
  onChange: (values: ReadonlyMap<string, string>) => void
}

export class Settings {
  readonly #options: SettingsOptions
  #index: Index = 0
  #values: ReadonlyMap<string, string> = new Map()

  constructor(options: SettingsOptions) {
    this.#options = options
  }

  /** The value of a key below the prefix. */
  get(name: string, fallback: string): string {
    return this.#values.get(name) ?? fallback
  }

  /** @throws Unreachable, UnexpectedAnswer, or the reason of the signal */
  async follow(signal: AbortSignal): Promise<void> {
    const { client, prefix, wait } = this.#options
    const asked = this.#index
    // A registry that fails may come back afresh, and would let an index from before wait in vain.
    this.#index = 0
    const { index, value } = await client.kv.list(prefix, asked === 0 ? { signal } : { index: asked, wait, signal })
    this.#index = nextIndex(asked, index)
    const values = new Map(value.map((pair) => [pair.Key.slice(prefix.length), textOf(pair)]))
    const changed = !sameEntries(values, this.#values)
    this.#values = values
    if (changed) this.#options.onChange(values)
  }
}

function sameEntries(one: ReadonlyMap<string, string>, other: ReadonlyMap<string, string>): boolean {
  return one.size === other.size && [...one].every(([key, value]) => other.get(key) === value)
}
