/** `keygen` and `keyring`: the keys of gossip encryption. */
import { randomBytes } from 'node:crypto'
import type { KeyringShape } from '../client/shapes.ts'
import type { Call, Command } from './command.ts'

const keyBytes = 32

export const keygen: Command = {
  name: 'keygen',
  usage: 'keygen',
  summary: 'Makes a new key for -encrypt',
  flags: [],
  async run({ out }: Call) {
    out(randomBytes(keyBytes).toString('base64'))
    return 0
  },
}

const usage = 'keyring (-list | -list-primary | -install KEY | -use KEY | -remove KEY) [options]'
const actions = ['list', 'list-primary', 'install', 'use', 'remove'] as const

export const keyring: Command = {
  name: 'keyring',
  usage,
  summary: 'Lists and changes the keys of gossip encryption on all members; ask a server',
  failing: 'error',
  flags: [
    { name: 'list', takes: 'nothing', help: 'Keys, and how many members have each.' },
    { name: 'list-primary', takes: 'nothing', help: 'Keys that members encrypt with, and how many do.' },
    { name: 'install', takes: 'value', value: 'key', help: 'Give every member this key; nobody encrypts with it yet.' },
    {
      name: 'use',
      takes: 'value',
      value: 'key',
      help: 'Encrypt with this key from now on. Changes nobody unless all members have it.',
    },
    {
      name: 'remove',
      takes: 'value',
      value: 'key',
      help: 'Take this key away from every member. Changes nobody while one of them encrypts with it.',
    },
    { name: 'local-only', takes: 'nothing', help: 'With -list: only the members of this datacenter.' },
    {
      name: 'relay-factor',
      takes: 'value',
      value: 'number',
      help: "0 to 5; accepted for Consul's users: answers need no relays here.",
    },
  ],
  async run({ client, given, out, err }: Call) {
    const chosen = actions.filter((action) => (given.get(action) ?? 'false') !== 'false')
    const [action] = chosen
    if (action === undefined) {
      err(`Usage: ${usage}`)
      return 1
    }
    if (chosen.length > 1) {
      err('Only a single action is allowed')
      return 1
    }
    const localOnly = given.get('local-only') === 'true'
    const listing = action === 'list' || action === 'list-primary'
    if (localOnly && !listing) {
      err('Error validating local-only: local-only can only be set for list requests')
      return 1
    }
    const relayFactor = Number(given.get('relay-factor') ?? 0)
    if (!Number.isInteger(relayFactor) || relayFactor < 0 || relayFactor > 5) {
      err('Error parsing relay factor: Relay factor must be in range: [0, 5]')
      return 1
    }
    out(announced[action])
    if (listing) {
      const pools = await client.keyring.list({ localOnly, relayFactor })
      for (const line of pools.flatMap((pool) => listed(pool, action === 'list' ? pool.Keys : pool.PrimaryKeys))) {
        out(line)
      }
    } else await client.keyring[action](given.get(action) as string, { relayFactor })
    return 0
  },
}

const announced = {
  list: '==> Gathering installed encryption keys...',
  'list-primary': '==> Gathering installed primary encryption keys...',
  install: '==> Installing new gossip encryption key...',
  use: '==> Changing primary gossip encryption key...',
  remove: '==> Removing gossip encryption key...',
} as const

function listed({ WAN, Datacenter, NumNodes }: KeyringShape, counts: Record<string, number>): string[] {
  const pool = WAN ? 'WAN' : `${Datacenter} (LAN)`
  return ['', `${pool}:`, ...Object.entries(counts).map(([key, count]) => `  ${key} [${count}/${NumNodes}]`)]
}
