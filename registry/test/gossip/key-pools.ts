/** Agents that have keys and nothing else, on wires. */
import { Deadlines } from '../../src/agent/deadlines.ts'
import { Keyring } from '../../src/agent/keyring.ts'
import type { KeptKeyring } from '../../src/agent/keyring-file.ts'
import { type KeyReport, Keys } from '../../src/agent/keys.ts'
import { SealedChannel } from '../../src/agent/sealed.ts'
import type { Member } from '../../src/model.ts'
import { type WiredStation, Wires } from './wires.ts'

export interface KeyNode {
  name: string
  keys: Keys
  kept: KeptKeyring | undefined
  station: WiredStation
  channel: SealedChannel
  datacenter: string
  /** Of a server in the WAN pool. */
  farKept: KeptKeyring | undefined
  far: WiredStation | undefined
  /** Of the disk, from now on. */
  failure: Error | undefined
}

/** Members of a LAN pool in each datacenter, of which the first are servers; the servers are a WAN pool. */
export function keyPools(layout: Record<string, readonly (readonly string[] | undefined)[]>, serversEach = 1) {
  const wires = new Wires()
  const deadlines = new Deadlines()
  const lans = new Map<string, Member[]>()
  const servers: Member[] = []
  const rules = { verifyIncoming: true, verifyOutgoing: true }
  const nodes: KeyNode[] = []
  const node = (datacenter: string, place: number, at: number, texts: readonly string[] | undefined) => {
    const lan = lans.get(datacenter) as Member[]
    const name = `${datacenter === 'dc1' ? 'n' : `${datacenter}-n`}${at + 1}`
    const member = (suffix: string, host: string): Member => {
      return {
        name: name + suffix,
        address: { host, port: 8301 },
        status: 'alive',
        tags: { dc: datacenter },
        incarnation: 1,
      }
    }
    const made = { failure: undefined as Error | undefined }
    const pool = (kind: 'lan' | 'wan', own: Member, members: Member[]) => {
      members.push(own)
      const station = wires.station(own.address.host, kind)
      const keyring = texts === undefined ? undefined : new Keyring(texts)
      const change: KeptKeyring['change'] = async (...given) => {
        if (made.failure !== undefined) throw made.failure
        keyring?.become(keyring.after(...given), wires.now)
      }
      const channel = new SealedChannel(station.io, kind, keyring, rules)
      return {
        station,
        pool: { name: own.name, members: () => members, channel, kept: keyring && { keyring, change } },
      }
    }
    const near = pool('lan', member('', `10.${place}.0.${at + 1}`), lan)
    const far =
      at < serversEach ? pool('wan', member(`.${datacenter}`, `10.10${place}.0.${at + 1}`), servers) : undefined
    const { io } = near.station
    const keys = new Keys({ io, deadlines, datacenter, lan: near.pool, wan: far?.pool })
    const { kept, channel } = near.pool
    nodes.push(
      Object.assign(made, {
        name,
        keys,
        kept,
        station: near.station,
        datacenter,
        far: far?.station,
        farKept: far?.pool.kept,
        channel,
      }),
    )
  }
  for (const [place, [datacenter, keyrings]] of Object.entries(layout).entries()) {
    lans.set(datacenter, [])
    for (const [at, texts] of keyrings.entries()) node(datacenter, place, at, texts)
  }
  const server = nodes[0] as KeyNode
  /** Whoever does not answer is waited for to the end. */
  const operate = async (operation: Parameters<Keys['operate']>[0]) => {
    let outcome: KeyReport[] | Error | undefined
    server.keys.operate(operation).then(
      (pools) => {
        outcome = pools
      },
      (error: Error) => {
        outcome = error
      },
    )
    for (let turns = 0; turns < 10 && outcome === undefined; turns++) {
      await wires.settle()
      wires.now += 5_000
      deadlines.tick(wires.now)
    }
    if (outcome instanceof Error) throw outcome
    return (outcome ?? []).map(({ wan, datacenter, error, failures, keys, primaryKeys, members: size }) => ({
      pool: wan ? 'wan' : datacenter === 'dc1' ? 'lan' : datacenter,
      size,
      keys,
      primary: primaryKeys,
      problems: error === '' ? [] : [error, ...failures.map(({ name, reason }) => `${name}: ${reason}`)],
    }))
  }
  const texts = () => nodes.map(({ kept }) => kept?.keyring.texts)
  return { wires, deadlines, members: lans.get('dc1') as Member[], servers, nodes, server, operate, texts }
}
