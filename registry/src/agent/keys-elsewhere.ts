/**
 * Keys of the members of another datacenter: one of its servers asks them. It is asked over the WAN pool, whose gossip is
 * sealed, and not over the rpc channel like other requests for there: that one has no key.
 */
import { BadRequest, Refused, Unanswered, Unreachable } from '../errors.ts'
import type { Io } from '../io/io.ts'
import type { Member, Millis } from '../model.ts'
import type { KeyChange } from './keyring.ts'
import { Newest } from './newest.ts'
import type { KeyOperation, KeyReport, Looked, PoolKeys } from './pool-keys.ts'
import { isLive } from './pools.ts'

const method = 'keys.lan'
/** Members there have five seconds to answer, and whoever waits for all of this does not wait for ever. */
const answerWithin: Millis = 8_000
const serversTried = 2

/** A look, or with its token the change it was for. */
type Request = { target: string; type: KeyOperation['type']; key: string } | { target: string; token: string }

export class KeysElsewhere {
  readonly #io: Io
  readonly #datacenter: string
  readonly #wan: PoolKeys
  readonly #looked: Newest<Looked>

  constructor({ io, datacenter }: { io: Io; datacenter: string }, { lan, wan }: { lan: PoolKeys; wan: PoolKeys }) {
    this.#io = io
    this.#datacenter = datacenter
    this.#wan = wan
    this.#looked = new Newest(io)
    wan.peers.answer(method, async (body) => {
      const request = requestOf(body)
      if (request.target !== wan.name) throw new Refused(`this is ${wan.name}, and not ${request.target}`)
      if ('token' in request) {
        const looked = this.#looked.take(request.token)
        if (looked === undefined) throw new Refused('another change of keys was begun meanwhile; look with -list')
        return { report: await looked.change(), token: '' }
      }
      const { type, key } = request
      const looked = await lan.look(type === 'list' ? { type, localOnly: true } : { type, key })
      return { report: looked.report, token: type === 'list' ? '' : this.#looked.give(looked) }
    })
  }

  /** Of all other datacenters, in name order. */
  look(operation: KeyOperation): Promise<Looked[]> {
    const servers = new Map<string, Member[]>()
    for (const member of this.#wan.members()) {
      const { dc = '' } = member.tags
      if (dc === this.#datacenter || dc === '' || member.status === 'left' || member.status === 'leaving') continue
      servers.set(dc, [...(servers.get(dc) ?? []), member])
    }
    const names = [...servers.keys()].sort()
    return Promise.all(names.map((datacenter) => this.#lookThere(datacenter, servers.get(datacenter) ?? [], operation)))
  }

  async #lookThere(datacenter: string, servers: readonly Member[], operation: KeyOperation): Promise<Looked> {
    const targets = this.#io.random.shuffle(servers.filter(isLive)).slice(0, serversTried)
    let reason = 'all its servers have failed; have those that will not come back leave (force-leave)'
    for (const { name, address } of targets) {
      const ask = async (request: Request) => {
        const answer = await this.#wan.peers.ask(address, method, request, answerWithin)
        return answered(answer, datacenter)
      }
      try {
        const key = operation.type === 'list' ? '' : operation.key
        const { report, token } = await ask({ target: name, type: operation.type, key })
        const change = async () => {
          try {
            return (await ask({ target: name, token })).report
          } catch (error) {
            return this.#unanswered(datacenter, `${name}: ${(error as Error).message}; look with -list`)
          }
        }
        return { report, change }
      } catch (error) {
        reason = `${name}: ${(error as Error).message}`
        if (!(error instanceof Unanswered || error instanceof Unreachable)) break
      }
    }
    const report = this.#unanswered(datacenter, reason)
    return { report, change: async () => report }
  }

  #unanswered(datacenter: string, reason: string): KeyReport {
    return { ...this.#wan.empty(reason), wan: false, datacenter }
  }
}

const types: readonly unknown[] = ['list', 'install', 'use', 'remove'] satisfies (KeyChange | 'list')[]

/** What anybody with a key may have sent. @throws BadRequest */
function requestOf(body: unknown): Request {
  const { target, type, key, token } = (body ?? {}) as Record<string, unknown>
  if (typeof target === 'string' && typeof token === 'string') return { target, token }
  if (typeof target === 'string' && typeof key === 'string' && key.length <= 512 && types.includes(type)) {
    return { target, type: type as KeyOperation['type'], key }
  }
  throw new BadRequest('expected a request about the keys of a datacenter')
}

/** The same for an answer. @throws BadRequest */
function answered(body: unknown, datacenter: string): { report: KeyReport; token: string } {
  const { report, token } = (body ?? {}) as { report?: Partial<Record<keyof KeyReport, unknown>>; token?: unknown }
  const { keys, primaryKeys, members, error, failures } = report ?? {}
  const sound = typeof members === 'number' && typeof error === 'string' && Array.isArray(failures)
  if (!sound || typeof token !== 'string') throw new BadRequest('expected a report of keys')
  return {
    report: {
      wan: false,
      datacenter,
      keys: counts(keys),
      primaryKeys: counts(primaryKeys),
      members,
      error,
      failures: failures.map((failure) => ({ name: String(failure?.name), reason: String(failure?.reason) })),
    },
    token,
  }
}

function counts(value: unknown): Record<string, number> {
  return Object.fromEntries(Object.entries(value ?? {}).map(([key, count]) => [key, Number(count)]))
}
