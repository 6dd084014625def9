/** What locks and sessions should do, the plain way: everything in maps, looked through from end to end. */
import type { KvPair, SessionDefinition } from '../../src/model.ts'
import type { Command } from '../../src/store/command.ts'

export type LockCommand = Extract<
  Command,
  {
    type:
      | 'kv.set'
      | 'kv.delete'
      | 'kv.lock'
      | 'kv.unlock'
      | 'session.create'
      | 'session.destroy'
      | 'session.expire'
      | 'locks.undelay'
      | 'catalog.register'
      | 'catalog.deregister'
  }
>

/** Of one node, n1, with checks of its own only. */
export class LockModel {
  readonly pairs = new Map<string, KvPair>()
  readonly sessions = new Map<string, SessionDefinition>()
  /** By key: the index at which its holder was lost. */
  readonly delays = new Map<string, number>()
  /** By id: the status. Undefined: the node is not registered. */
  #checks: Map<string, string> | undefined

  /** @returns the value, or that it was refused. */
  apply(index: number, command: LockCommand): boolean | 'refused' {
    switch (command.type) {
      case 'kv.set': {
        const old = this.pairs.get(command.key)
        if (command.cas !== undefined && command.cas !== (old?.modifyIndex ?? 0)) return false
        this.#put(index, command, 0, old?.session)
        return true
      }
      case 'kv.delete': {
        const found = this.pairs.get(command.key)
        if (command.recurse !== true && command.cas !== undefined && found && found.modifyIndex !== command.cas)
          return false
        for (const key of [...this.pairs.keys()]) {
          if (key === command.key || (command.recurse === true && key.startsWith(command.key))) this.pairs.delete(key)
        }
        return true
      }
      case 'kv.lock': {
        if (this.delays.has(command.key)) return false
        if (!this.sessions.has(command.session)) return 'refused'
        const old = this.pairs.get(command.key)
        if (old?.session !== undefined && old.session !== command.session) return false
        const acquired = old?.session === undefined ? 1 : 0
        this.#put(index, command, (old?.lockIndex ?? 0) + acquired, command.session)
        return true
      }
      case 'kv.unlock': {
        if (command.session === '') return 'refused'
        const old = this.pairs.get(command.key)
        if (old?.session !== command.session) return false
        this.#put(index, command, old.lockIndex, undefined)
        return true
      }
      case 'session.create': {
        const { session } = command
        if (this.sessions.has(session.id) || this.#checks === undefined) return 'refused'
        for (const check of livesBy(session)) {
          const status = this.#checks.get(check)
          if (status === undefined || status === 'critical') return 'refused'
        }
        this.sessions.set(session.id, session)
        return true
      }
      case 'session.destroy':
      case 'session.expire':
        this.#end(index, command.id)
        return true
      case 'locks.undelay':
        for (const { key, index: at } of command.marks) if (this.delays.get(key) === at) this.delays.delete(key)
        return true
      case 'catalog.register':
        this.#checks ??= new Map()
        for (const { id, status } of command.checks) this.#checks.set(id, status)
        this.#endOfThoseBy(index, (check) => this.#checks?.get(check) === 'critical')
        return true
      case 'catalog.deregister':
        if (command.checkId !== undefined) {
          this.#checks?.delete(command.checkId)
          this.#endOfThoseBy(index, (check) => check === command.checkId)
        } else {
          this.#checks = undefined
          for (const id of [...this.sessions.keys()]) this.#end(index, id)
        }
        return true
    }
  }

  #endOfThoseBy(index: number, lost: (check: string) => boolean): void {
    for (const session of [...this.sessions.values()]) if (livesBy(session).some(lost)) this.#end(index, session.id)
  }

  #end(index: number, id: string): void {
    const session = this.sessions.get(id)
    if (session === undefined) return
    this.sessions.delete(id)
    for (const pair of [...this.pairs.values()]) {
      if (pair.session !== id) continue
      if (session.behavior === 'delete') this.pairs.delete(pair.key)
      else this.#put(index, pair, pair.lockIndex, undefined)
      if (session.lockDelay > 0) this.delays.set(pair.key, index)
    }
  }

  #put(
    index: number,
    { key, value, flags }: Pick<KvPair, 'key' | 'value' | 'flags'>,
    lockIndex: number,
    session: string | undefined,
  ): void {
    const old = this.pairs.get(key)
    const same = old?.value === value && old.flags === flags && old.lockIndex === lockIndex && old.session === session
    if (same) return
    const createIndex = old?.createIndex ?? index
    const holder = session === undefined ? {} : { session }
    this.pairs.set(key, { key, value, flags, lockIndex, createIndex, modifyIndex: index, ...holder })
  }
}

function livesBy({ nodeChecks, serviceChecks, checks }: SessionDefinition): string[] {
  return [...(nodeChecks ?? []), ...(serviceChecks ?? []), ...(checks ?? [])]
}
