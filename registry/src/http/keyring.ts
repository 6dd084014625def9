/** `/v1/operator/keyring`: the keys of gossip encryption, on every member at once. */
import type { KeyOperation, KeyReport } from '../agent/keys.ts'
import type { AgentSurface } from '../agent/surface.ts'
import { BadRequest, Refused } from '../errors.ts'
import { readBody } from './body.ts'
import { Fields, parseJson } from './decode.ts'
import { type Answer, type Asked, type Endpoint, empty, json } from './endpoint.ts'

const relayFactorMax = 5

export function keyringEndpoints(surface: AgentSurface): Endpoint[] {
  const change = (type: 'install' | 'use' | 'remove') => async (asked: Asked) => {
    const key = await keyOf(asked)
    checkRelayFactor(asked.query)
    if (localOnly(asked.query)) {
      throw new BadRequest('Bad request: Invalid use of local-only: local-only can only be set for list requests')
    }
    await done(surface, { type, key })
    return empty()
  }
  return [
    {
      path: '/v1/operator/keyring',
      verbs: {
        GET: (asked) => list(surface, asked),
        POST: change('install'),
        PUT: change('use'),
        DELETE: change('remove'),
      },
    },
  ]
}

async function list(surface: AgentSurface, asked: Asked): Promise<Answer> {
  checkRelayFactor(asked.query)
  const pools = await done(surface, { type: 'list', localOnly: localOnly(asked.query) })
  return json(asked, pools.map(poolShape))
}

/** @throws Refused in Consul's words when anybody could not be asked, or refused */
async function done(surface: AgentSurface, operation: KeyOperation): Promise<KeyReport[]> {
  const pools = await surface.keys.operate(operation)
  const errors = pools.flatMap(({ wan, datacenter, error, failures }) => {
    if (error === '') return []
    const pool = wan ? 'WAN' : `${datacenter} (LAN)`
    return [`${pool} error: ${error}`, ...failures.map(({ name, reason }) => `${name}: ${reason}`)]
  })
  if (errors.length > 0) {
    const lines = errors.map((error) => `\t* ${error}\n`).join('')
    throw new Refused(`${errors.length} ${errors.length === 1 ? 'error' : 'errors'} occurred:\n${lines}\n`)
  }
  return pools
}

function poolShape({ wan, datacenter, keys, primaryKeys, members }: KeyReport): unknown {
  const counts = (of: Record<string, number>) =>
    Object.fromEntries(Object.entries(of).sort(([one], [other]) => (one < other ? -1 : 1)))
  return {
    WAN: wan,
    Datacenter: datacenter,
    Segment: '',
    Keys: counts(keys),
    PrimaryKeys: counts(primaryKeys),
    NumNodes: members,
  }
}

async function keyOf({ request }: Asked): Promise<string> {
  const bytes = await readBody(request)
  try {
    const body = parseJson(bytes)
    // Go names a type with its package, and a field without.
    new Fields(body, 'agent.keyringArgs')
    return new Fields(body, 'keyringArgs').text('Key')
  } catch (error) {
    throw error instanceof BadRequest ? new BadRequest(`Bad request: ${error.message}`, { cause: error }) : error
  }
}

/** Of no use here: answers come back on the connections of the questions. */
function checkRelayFactor(query: URLSearchParams): void {
  const given = query.get('relay-factor') ?? ''
  if (given === '') return
  if (!/^[+-]?\d+$/.test(given)) {
    const quoted = JSON.stringify(given)
    throw new BadRequest(`Bad request: Error parsing relay factor: strconv.Atoi: parsing ${quoted}: invalid syntax`)
  }
  if (Number(given) < 0 || Number(given) > relayFactorMax) {
    throw new BadRequest('Bad request: Invalid relay-factor: Relay factor must be in range: [0, 5]')
  }
}

function localOnly(query: URLSearchParams): boolean {
  const given = query.get('local-only') ?? ''
  if (/^(1|t|T|true|TRUE|True)$/.test(given)) return true
  if (given === '' || /^(0|f|F|false|FALSE|False)$/.test(given)) return false
  const quoted = JSON.stringify(given)
  throw new BadRequest(`Bad request: Error parsing local-only: strconv.ParseBool: parsing ${quoted}: invalid syntax`)
}
