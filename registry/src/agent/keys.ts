/**
 * The keys of all members of all pools at once: of the WAN, of our own datacenter and of the others.
 *
 * Everybody is looked at before anybody is changed, and nobody is changed when somebody could not follow: a key is used only
 * when all have it, and removed only when it is nobody's primary. (Consul changes those that can, and so cuts off the others.)
 */
import { Refused } from '../errors.ts'
import type { Io } from '../io/io.ts'
import type { Deadlines } from './deadlines.ts'
import { keyOf } from './keyring.ts'
import type { Keyrings } from './keyring-file.ts'
import { KeysElsewhere } from './keys-elsewhere.ts'
import type { AgentOptions } from './options.ts'
import { type KeyOperation, type KeyReport, type KeysPool, PoolKeys } from './pool-keys.ts'
import type { Pools } from './pools.ts'
import type { SealedChannel } from './sealed.ts'
import type { Pool } from './surface.ts'

export type { KeyOperation, KeyReport } from './pool-keys.ts'

export interface KeysSurface {
  /**
   * One report a pool: the WAN, our LAN, the LANs of other datacenters; with `localOnly` our LAN alone.
   * @throws Refused unless on a server
   */
  operate(operation: KeyOperation): Promise<KeyReport[]>
}

export interface KeysOptions {
  io: Io
  deadlines: Deadlines
  datacenter: string
  lan: KeysPool
  /** Servers only. */
  wan: KeysPool | undefined
}

export class Keys implements KeysSurface {
  readonly #lan: PoolKeys
  readonly #wan: PoolKeys | undefined
  readonly #elsewhere: KeysElsewhere | undefined
  #turn: Promise<unknown> = Promise.resolve()

  constructor(options: KeysOptions) {
    const { lan, wan } = options
    this.#lan = new PoolKeys(options, 'lan', lan)
    this.#wan = wan && new PoolKeys(options, 'wan', wan)
    this.#elsewhere = this.#wan && new KeysElsewhere(options, { lan: this.#lan, wan: this.#wan })
  }

  /** One operation of this agent after the other. */
  operate(operation: KeyOperation): Promise<KeyReport[]> {
    const result = this.#turn.then(() => this.#operate(operation))
    this.#turn = result.catch(() => undefined)
    return result
  }

  stop(): void {
    this.#lan.stop()
    this.#wan?.stop()
  }

  async #operate(operation: KeyOperation): Promise<KeyReport[]> {
    const [lan, wan, elsewhere] = [this.#lan, this.#wan, this.#elsewhere]
    if (wan === undefined || elsewhere === undefined) {
      throw new Refused('keyring operations must run against a server node')
    }
    if (operation.type === 'list' && operation.localOnly) return [(await lan.look(operation)).report]
    if (operation.type !== 'list') {
      const unreadable = unreadableReason(operation.key)
      if (unreadable !== undefined) return [wan.empty(unreadable), lan.empty(unreadable)]
    }
    const [global, local, others] = await Promise.all([
      wan.look(operation),
      lan.look(operation),
      elsewhere.look(operation),
    ])
    const looks = [global, local, ...others]
    const reports = looks.map(({ report }) => report)
    const failed = reports.some(({ error }) => error !== '')
    // A new key harms nobody who has it: those that can take it do, and the others are named.
    if (operation.type === 'list' || (failed && operation.type !== 'install')) return reports
    return Promise.all(looks.map((look) => look.change()))
  }
}

/** Over the pools of an agent. */
export function openKeys(parts: {
  io: Io
  deadlines: Deadlines
  agent: AgentOptions
  pools: Pools
  keyrings: Keyrings
}): Keys {
  const { io, deadlines, pools, keyrings } = parts
  const { name, datacenter } = parts.agent
  const pool = (kind: Pool, channel: SealedChannel): KeysPool => ({
    name: kind === 'lan' ? name : `${name}.${datacenter}`,
    members: () => pools.members(kind),
    channel,
    kept: keyrings[kind],
  })
  const { lan, wan } = pools.channels
  return new Keys({ io, deadlines, datacenter, lan: pool('lan', lan), wan: wan && pool('wan', wan) })
}

/** Of a text that is no base64, in Consul's words. */
function unreadableReason(text: string): string | undefined {
  try {
    keyOf(text)
    return undefined
  } catch (error) {
    const { message } = error as Error
    return message.startsWith('illegal base64') ? message : undefined
  }
}
