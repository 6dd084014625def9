/** A cluster as its leader sees it, for tests of what it then does. */
import assert from 'node:assert/strict'
import { duties, type Situation } from '../../src/agent/leader.ts'
import { autopilotDefault, type Member } from '../../src/model.ts'
import type { ServerChange } from '../../src/raft/message.ts'
import { encodeCommand } from '../../src/store/command.ts'
import type { Store } from '../../src/store/store.ts'

export const member = (name: string, changes: Partial<Member> & { id?: string; server?: boolean } = {}): Member => {
  const { id = `id-${name}`, server = true, ...rest } = changes
  return {
    name,
    address: { host: `10.0.0.${name.at(-1)}`, port: 8301 },
    status: 'alive',
    incarnation: 1,
    tags: { dc: 'dc1', id, role: server ? 'consul' : 'node', ...(server ? { port: '8300' } : {}) },
    ...rest,
  }
}

/** Does the duties on a store, as the leader would, until none is left; returns what it did. */
export function perform(store: Store, situation: Omit<Situation, 'view'>): string[] {
  const done: string[] = []
  if (store.autopilot() === undefined) {
    const command = { type: 'autopilot.set' as const, configuration: situation.autopilot }
    store.apply(store.index + 1, encodeCommand(command))
  }
  for (let turn = 0; turn < 10; turn++) {
    const todo = duties({ ...situation, view: store })
    if (todo.length === 0) return done
    for (const duty of todo) {
      done.push(duty.log)
      if ('command' in duty) store.apply(store.index + 1, encodeCommand(duty.command))
      else if ('change' in duty) applyChange(situation, duty.change)
      else leave(situation, duty.forceLeave)
    }
  }
  return assert.fail(`never done: ${done.join('; ')}`)
}
function applyChange({ configuration }: Omit<Situation, 'view'>, change: ServerChange): void {
  const others = configuration.servers.filter(({ id }) => id !== change.id)
  const before = configuration.servers.find(({ id }) => id === change.id)
  if (change.type === 'add') {
    others.push({ id: change.id, address: change.address, voter: change.voter })
  } else if (change.type === 'promote' && before !== undefined) others.push({ ...before, voter: true })
  configuration.servers = others
}

function leave(situation: Omit<Situation, 'view'>, name: string): void {
  situation.members = situation.members.map((each) => (each.name === name ? { ...each, status: 'left' } : each))
}

export function situation(members: Member[], changes: Partial<Situation> = {}): Omit<Situation, 'view'> {
  return {
    datacenter: 'dc1',
    self: 'id-host1',
    members,
    configuration: {
      cluster: 'c',
      servers: members
        .filter(({ tags }) => tags.role === 'consul')
        .map(({ address, tags }) => ({ id: tags.id as string, address: `${address.host}:8300`, voter: true })),
    },
    leaving: new Set(),
    statuses: new Map(),
    autopilot: autopilotDefault,
    initial: autopilotDefault,
    heard: () => true,
    stable: () => true,
    gone: () => true,
    dead: () => false,
    ...changes,
  }
}
