/**
 * The keyrings of an agent and the files they are kept in, which are Consul's: a JSON list of base64 texts, the primary
 * first. A change is on the disk before it is in force, so an agent that was asked to change comes back changed.
 */
import { Corrupt } from '../errors.ts'
import type { Io } from '../io/io.ts'
import { loadJson, replaceFile } from './files.ts'
import { type KeyChange, Keyring } from './keyring.ts'
import type { AgentOptions } from './options.ts'
import type { Pool } from './surface.ts'

const files: Record<Pool, string> = { lan: 'serf/local.keyring', wan: 'serf/remote.keyring' }

export interface KeptKeyring {
  readonly keyring: Keyring
  /** Durable and in force when it resolves. @throws Refused in Consul's words, or what the disk says: nothing is changed */
  change(change: KeyChange, key: string): Promise<void>
}

/** Undefined for a pool that is not encrypted. */
export type Keyrings = Record<Pool, KeptKeyring | undefined>

/**
 * A keyring that was kept wins over the key that was given: keys are changed while agents run, and what stands in a script
 * grows old. @throws Corrupt for a file that holds no keyring, BadRequest for a given key that is none
 */
export async function openKeyrings(io: Io, { server, encrypt }: Pick<AgentOptions, 'server' | 'encrypt'>) {
  const { key, keepFile = true } = encrypt ?? {}
  const given = key === undefined ? undefined : new Keyring([key]).texts
  const open = async (pool: Pool, otherwise: string[] | undefined): Promise<KeptKeyring | undefined> => {
    const kept = keepFile ? await load(io, files[pool]) : undefined
    const texts = kept ?? otherwise
    if (texts === undefined) return undefined
    if (kept === undefined && keepFile) await save(io, files[pool], texts)
    if (kept !== undefined && given !== undefined && kept[0] !== given[0]) {
      const name = pool.toUpperCase()
      io.log('warn', 'agent', `WARNING: ${name} keyring exists but -encrypt given, using keyring`, {
        file: files[pool],
      })
    }
    return new Kept(io, keepFile ? files[pool] : undefined, new Keyring(texts))
  }
  const lan = await open('lan', given)
  // An agent that has become a server: its other pool is no less secret.
  const wan = server ? await open('wan', given ?? lan?.keyring.texts) : undefined
  return { lan, wan }
}

class Kept implements KeptKeyring {
  readonly keyring: Keyring
  readonly #io: Io
  readonly #file: string | undefined
  #turn: Promise<unknown> = Promise.resolve()

  constructor(io: Io, file: string | undefined, keyring: Keyring) {
    this.#io = io
    this.#file = file
    this.keyring = keyring
  }

  change(change: KeyChange, key: string): Promise<void> {
    const changed = this.#turn.then(async () => {
      const texts = this.keyring.after(change, key)
      if (this.#file !== undefined) await save(this.#io, this.#file, texts)
      this.keyring.become(texts, this.#io.clock.now())
    })
    this.#turn = changed.catch(() => undefined)
    return changed
  }
}

async function load(io: Io, file: string): Promise<string[] | undefined> {
  const where = `${file} in the data directory`
  const remedy = 'restore it, or remove it and give the key with -encrypt'
  const loaded = await loadJson(io.disk, file).catch((error: Error) => {
    // The parser's words show what stands there: part of a key, which has no business in a log.
    throw error instanceof Corrupt ? new Corrupt(`${where} is not a JSON list of keys; ${remedy}`) : error
  })
  if (loaded === undefined) return undefined
  if (!Array.isArray(loaded) || loaded.length === 0 || !loaded.every((text) => typeof text === 'string')) {
    throw new Corrupt(`${where} is no list of keys; ${remedy}`)
  }
  try {
    return new Keyring(loaded).texts
  } catch (error) {
    throw new Corrupt(`${where} holds an invalid key: ${(error as Error).message}; ${remedy}`, { cause: error })
  }
}

function save(io: Io, file: string, texts: readonly string[]): Promise<void> {
  return replaceFile(io.disk, file, JSON.stringify(texts, null, 2))
}
