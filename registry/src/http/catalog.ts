/** `/v1/catalog/`: what the cluster knows of nodes and services, and registering there without an agent. */
import type { AgentSurface } from '../agent/surface.ts'
import { BadRequest, Refused } from '../errors.ts'
import { formatDuration } from '../health/duration.ts'
import type { CheckResult, Node, NodeDefinition, ServiceDefinition } from '../model.ts'
import type { Command } from '../store/command.ts'
import type { Location } from '../store/view.ts'
import { readBody } from './body.ts'
import { Fields, parseJson } from './decode.ts'
import { askElsewhere, isElsewhere } from './elsewhere.ts'
import { type Answer, type Asked, type Endpoint, type HttpOptions, json } from './endpoint.ts'
import { filterOf } from './filter.ts'
import { nearest } from './near.ts'
import { consistency, FailedRead, localOnly, nodeMeta, type Question, reading, readOptions } from './query.ts'
import { isAnyAddress, serviceAddresses, weightsOf } from './registration.ts'
import { nodeShape, type Shape, serviceNodeShape, serviceShape } from './selector.ts'
import { consulNode, nodeService, serviceNode } from './shapes.ts'

export function catalogEndpoints(surface: AgentSurface, options: HttpOptions): Endpoint[] {
  const read = (answer: (asked: Asked, read: CatalogRead) => Promise<Answer>) => ({
    GET: (asked: Asked) => answer(asked, catalogRead(surface, options, asked)),
  })
  return [
    { path: '/v1/catalog/register', verbs: { PUT: (asked) => register(surface, asked) } },
    { path: '/v1/catalog/deregister', verbs: { PUT: (asked) => deregister(surface, asked) } },
    {
      path: '/v1/catalog/datacenters',
      verbs: { GET: async (asked) => json(asked, await surface.remote.datacenters()) },
    },
    { path: '/v1/catalog/nodes', verbs: read((asked, each) => nodes(surface, asked, each)) },
    { path: '/v1/catalog/services', verbs: read(services) },
    { path: '/v1/catalog/service/', hot: true, verbs: read((asked, each) => service(surface, asked, each)) },
    { path: '/v1/catalog/node/', verbs: read((asked, each) => node(surface, asked, each, 'map')) },
    { path: '/v1/catalog/node-services/', verbs: read((asked, each) => node(surface, asked, each, 'list')) },
  ]
}

/** A read of the catalog or of health, its options understood; they alone tell how consistent they were. */
export type CatalogRead = <T, Row>(
  question: Question<T>,
  filtered: { shape: Shape; rows: (value: T) => Row[] },
) => Promise<{ value: T; rows: Row[]; headers: Record<string, string> }>

/** Options are understood at once, so that a bad one is a 400 before anything is asked. */
export function catalogRead(surface: AgentSurface, options: HttpOptions, asked: Asked): CatalogRead {
  const read = readOptions(asked, options)
  return async (question, { shape, rows }) => {
    const { value, headers } = await reading(surface, options, read, asked, question)
    headers['X-Consul-Effective-Consistency'] = consistency(read)
    const shaped = rows(value)
    if (!asked.query.get('filter')) return { value, rows: shaped, headers }
    try {
      const keep = filterOf(asked.query, shape)
      return { value, rows: keep === undefined ? shaped : shaped.filter(keep), headers }
    } catch (error) {
      throw new FailedRead('the filter failed', { cause: error })
    }
  }
}

async function nodes(surface: AgentSurface, asked: Asked, read: CatalogRead): Promise<Answer> {
  const wanted = nodeMeta(asked.query)
  const near = nearest(surface, asked.query)
  const some = (all: Node[]) => (wanted ? all.filter(wanted) : all)
  const { rows, headers } = await read(
    { topics: [{ kind: 'nodes' }], look: (view) => view.nodes() },
    {
      shape: nodeShape,
      rows: (all) => (near ? near(some(all), ({ name }) => name) : some(all)).map(consulNode),
    },
  )
  return json(asked, rows, headers)
}

async function services(asked: Asked, read: CatalogRead): Promise<Answer> {
  const wanted = nodeMeta(asked.query)
  // Consul 1.8 does not filter here; names are not rows.
  asked.query.delete('filter')
  const { value, headers } = await read(
    {
      topics: wanted ? [{ kind: 'services' }, { kind: 'nodes' }] : [{ kind: 'services' }],
      look: (view) => {
        const all = view.services()
        if (wanted === undefined) return all
        const some = view.nodes()
        const tags = new Map<string, Set<string>>()
        for (const { name } of some.value.filter(wanted)) {
          for (const service of view.node(name).value?.services ?? []) {
            const known = tags.get(service.name) ?? new Set()
            for (const tag of service.tags) known.add(tag)
            tags.set(service.name, known)
          }
        }
        // In the order of all services, which is by name.
        const named = [...all.value.keys()].filter((name) => tags.has(name))
        const value = new Map(named.map((name) => [name, [...(tags.get(name) ?? [])]]))
        return { index: Math.max(all.index, some.index), value }
      },
    },
    { shape: { fields: {} }, rows: () => [] },
  )
  return json(asked, Object.fromEntries(value), headers)
}

async function service(surface: AgentSurface, asked: Asked, read: CatalogRead): Promise<Answer> {
  const { name, query } = asked
  if (name === '') throw new BadRequest('Missing service name')
  const tags = query.getAll('tag')
  const wanted = nodeMeta(query)
  const near = nearest(surface, query)
  const some = (all: Location[]) => (wanted ? all.filter((each) => wanted(each.node)) : all)
  const { rows, headers } = await read(
    { topics: [{ kind: 'locations', service: name }], look: (view) => view.locations(name, tags) },
    {
      shape: serviceNodeShape,
      rows: (all) => (near ? near(some(all), ({ node }) => node.name) : some(all)).map(serviceNode),
    },
  )
  return json(asked, rows, headers)
}

/** A node by name or by id. */
async function node(surface: AgentSurface, asked: Asked, read: CatalogRead, form: 'map' | 'list'): Promise<Answer> {
  if (asked.name === '') throw new BadRequest('Missing node name')
  const name = surface.view.nodeById(asked.name)?.name ?? asked.name
  const { value, rows, headers } = await read(
    {
      topics: [{ kind: 'node', node: name }],
      look: (view) => view.node(view.nodeById(asked.name)?.name ?? asked.name),
    },
    { shape: serviceShape, rows: (found) => found?.services.map(nodeService) ?? [] },
  )
  if (form === 'map') {
    const byId = Object.fromEntries(rows.map((each) => [each.ID, each]))
    return json(asked, value === undefined ? null : { Node: consulNode(value.node), Services: byId }, headers)
  }
  const found = value === undefined ? { Node: null, Services: null } : { Node: consulNode(value.node), Services: rows }
  return json(asked, found, headers)
}

async function register(surface: AgentSurface, asked: Asked): Promise<Answer> {
  const body = await readBody(asked.request)
  const fields = new Fields(parseJson(body), 'RegisterRequest')
  const command = registration(fields, surface.identity.datacenter)
  const datacenter = fields.text('Datacenter') || (asked.query.get('dc') ?? '')
  if (isElsewhere(surface, asked, datacenter)) {
    return askElsewhere(surface, { asked, datacenter, method: 'PUT', path: '/v1/catalog/register', body })
  }
  localOnly(surface, datacenter)
  refuseRegistration(command)
  return json(asked, (await surface.write(command)).value)
}

type Register = Extract<Command, { type: 'catalog.register' }>

function registration(fields: Fields, datacenter: string): Register {
  const node: NodeDefinition = {
    id: fields.text('ID').toLowerCase(),
    name: fields.text('Node'),
    address: fields.text('Address'),
    datacenter,
    taggedAddresses: fields.textMap('TaggedAddresses'),
    meta: fields.textMap('NodeMeta'),
  }
  const service = fields.has('Service') ? catalogService(fields.object('Service', 'NodeService.Service')) : undefined
  const checks = [
    ...(fields.has('Check') ? [fields.object('Check', 'HealthCheck.Check')] : []),
    ...fields.list('Checks').map((check) => new Fields(check, 'HealthCheck.Checks')),
  ]
  for (const check of checks) {
    const other = check.text('Node')
    if (other !== '' && other.toLowerCase() !== node.name.toLowerCase()) {
      throw new Refused(`check node ${JSON.stringify(other)} does not match node ${JSON.stringify(node.name)}`)
    }
  }
  const skipNodeUpdate = fields.boolean('SkipNodeUpdate')
  return {
    type: 'catalog.register',
    node,
    ...(service && { service }),
    checks: checks.map(catalogCheck),
    ...(skipNodeUpdate && { skipNodeUpdate }),
  }
}

/** A service as it is registered through the catalog. @throws BadRequest */
export function catalogService(fields: Fields): ServiceDefinition {
  const name = fields.text('Service')
  return {
    id: fields.text('ID') || name,
    name,
    tags: fields.texts('Tags'),
    address: fields.text('Address'),
    port: fields.integer('Port'),
    taggedAddresses: serviceAddresses(fields),
    meta: fields.textMap('Meta'),
    weights: weightsOf(fields),
    enableTagOverride: fields.boolean('EnableTagOverride'),
  }
}

/** A check as it is registered through the catalog. @throws BadRequest */
export function catalogCheck(fields: Fields): CheckResult {
  const definition = checkDefinition(fields.object('Definition', 'HealthCheckDefinition'))
  const id = fields.text('CheckID')
  return {
    id: id || fields.text('Name'),
    name: fields.text('Name'),
    status: fields.text('Status') || 'critical',
    notes: fields.text('Notes'),
    output: fields.text('Output'),
    serviceId: fields.text('ServiceID'),
    type: fields.text('Type') || ('HTTP' in definition ? 'http' : 'TCP' in definition ? 'tcp' : ''),
    definition,
  }
}

/** Kept for those who run such checks from outside (consul-esm): in Consul's order, zeros left out. */
function checkDefinition(fields: Fields): Record<string, unknown> {
  const all: Record<string, unknown> = {
    Interval: formatDuration(fields.duration('Interval')),
    Timeout: formatDuration(fields.duration('Timeout')),
    DeregisterCriticalServiceAfter: formatDuration(fields.duration('DeregisterCriticalServiceAfter')),
    HTTP: fields.text('HTTP'),
    TLSSkipVerify: fields.boolean('TLSSkipVerify'),
    Header: fields.map('Header', (value, key) => new Fields({ [key]: value }, 'Header').texts(key)) ?? {},
    Method: fields.text('Method'),
    Body: fields.text('Body'),
    TCP: fields.text('TCP'),
  }
  const given = ([, value]: [string, unknown]) =>
    typeof value === 'object' ? Object.keys(value ?? {}).length > 0 : Boolean(value) && value !== '0s'
  return Object.fromEntries(Object.entries(all).filter(given))
}

/** What Consul refuses before its state is asked. */
function refuseRegistration({ node, service, skipNodeUpdate }: Register): void {
  if (node.name === '') throw new Refused('Must provide node')
  if (node.address === '' && skipNodeUpdate !== true) {
    throw new Refused('Must provide address if SkipNodeUpdate is not set')
  }
  const badId = badNodeId(node.id)
  if (badId !== undefined) throw new Refused(badId)
  if (service === undefined) return
  if (service.id !== '' && service.name === '') throw new Refused('Must provide service name with ID')
  if (isAnyAddress(service.address)) throw new Refused('Invalid service address')
}

/** Why a node cannot have this id; '' is none. */
export function badNodeId(id: string): string | undefined {
  if (id === '' || /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id)) return undefined
  return `Bad node ID: uuid string is ${id.length === 36 ? 'badly formatted' : 'wrong length'}`
}

async function deregister(surface: AgentSurface, asked: Asked): Promise<Answer> {
  const body = await readBody(asked.request)
  const fields = new Fields(parseJson(body), 'DeregisterRequest')
  const node = fields.text('Node')
  const serviceId = fields.text('ServiceID')
  const checkId = fields.text('CheckID')
  const datacenter = fields.text('Datacenter') || (asked.query.get('dc') ?? '')
  if (isElsewhere(surface, asked, datacenter)) {
    return askElsewhere(surface, { asked, datacenter, method: 'PUT', path: '/v1/catalog/deregister', body })
  }
  localOnly(surface, datacenter)
  if (node === '') throw new Refused('Must provide node')
  await surface.write({
    type: 'catalog.deregister',
    node,
    ...(serviceId !== '' && { serviceId }),
    ...(serviceId === '' && checkId !== '' && { checkId }),
  })
  return json(asked, true)
}
