/**
 * Which services containers mean to be: a pure function of what Docker says and the options. The rules are those of
 * gliderlabs/registrator; where its result could not work, ours differs and the test of its recordings names it.
 */
import type { CheckRegistration, ServiceRegistration } from 'registry/client'
import type { Millis } from 'registry/model'
import { checkOf } from './checks.ts'
import type { Binding, Container, ExposedPort } from './container.ts'
import { listOf, type Metadata, metadataOf } from './metadata.ts'
import { type Owner, ownerMeta } from './owner.ts'

export interface ServiceRules {
  owner: Owner
  /** First part of every id. */
  hostname: string
  /** The host's own address, for ports published on all of them. '' registers the node's. */
  hostAddress: string
  /** Overrides every published address; undefined: do not. */
  ip: string | undefined
  /** Register exposed ports at the container's address. */
  internal: boolean
  /** Only ports that were given a name. */
  explicit: boolean
  /** On every service. */
  tags: string[]
  /** A label whose value is the address to register. */
  ipLabel: string | undefined
  /** Containers that failed stay registered until they are removed. */
  deregister: 'always' | 'on-success'
  /** A paused container answers nobody. */
  paused: 'deregister' | 'keep'
  /** 0: no heartbeat. */
  ttl: Millis
}

export type DesiredService = ServiceRegistration &
  Required<Pick<ServiceRegistration, 'ID' | 'Meta' | 'Tags' | 'Checks'>>

export interface Desired {
  /** By container name, then port. Ids are unique. */
  services: DesiredService[]
  /** Containers, by id, whose registrations stay as they are: they ended with an error under on-success. */
  kept: Set<string>
  /** What a container asks for and cannot have. */
  warnings: string[]
}

/** @param containers all of the engine's, ended ones too; one may live in another's network. */
export function desiredServices(containers: readonly Container[], rules: ServiceRules): Desired {
  const desired: Desired = { services: [], kept: new Set(), warnings: [] }
  const byId = new Map(containers.map((container) => [container.id, container]))
  const ids = new Set<string>()
  for (const container of containers.slice().sort(byName)) {
    if (!container.state.running) {
      if (rules.deregister === 'on-success' && failed(container.state.exitCode)) desired.kept.add(container.id)
      continue
    }
    if (container.state.paused && rules.paused === 'deregister') continue
    const endpoints = endpointsOf(container, byId, rules)
    for (const endpoint of endpoints) {
      const metadata = metadataOf(container, endpoint.port)
      if (metadata.values.get('ignore')) continue
      if (rules.explicit && !metadata.values.get('name')) continue
      const id = idOf(container, endpoint, metadata, rules, ids)
      const wanted = metadata.values.get('id')
      if (wanted && wanted !== id) {
        desired.warnings.push(`container ${container.name}, port ${portText(endpoint)}: id ${wanted} is taken`)
      }
      if (id === undefined) continue
      ids.add(id)
      const name = nameOf(container, endpoint, metadata, endpoints.length > 1)
      const { meta, warnings } = metaOf(metadata)
      desired.warnings.push(...warnings.map((warning) => `container ${container.name}: ${warning}`))
      desired.services.push({
        ID: id,
        Name: name,
        Address: endpoint.address,
        Port: endpoint.reachedAt,
        Tags: tagsOf(endpoint, metadata, rules),
        Meta: { ...meta, ...ownerMeta(rules.owner, container.id) },
        EnableTagOverride: isTrue(metadata.values.get('enable_tag_override')),
        Checks: checksOf(id, endpoint, metadata, rules),
      })
    }
  }
  return desired
}

/** 129 and above is "ended by a signal", which is how a container is stopped; 255 is what failing programs return. */
function failed(exitCode: number): boolean {
  return exitCode !== 0 && !(exitCode > 128 && exitCode < 255)
}

/** A port of a container and where it is reached. */
interface Endpoint extends ExposedPort {
  address: string
  reachedAt: number
}

/** Candidates for registration, before anything is ignored: their number decides whether names get a suffix. */
function endpointsOf(container: Container, byId: Map<string, Container>, rules: ServiceRules): Endpoint[] {
  const { networkMode } = container
  const labelled = rules.ipLabel === undefined ? undefined : container.labels[rules.ipLabel]?.replace(/\/\d+$/, '')
  const at = (exposed: ExposedPort, address: string, reachedAt: number): Endpoint => ({
    ...exposed,
    address: labelled || address,
    reachedAt,
  })
  if (networkMode === 'none') return []
  const hostAddress = rules.ip ?? rules.hostAddress
  if (networkMode === 'host') {
    return container.exposed.map((exposed) => at(exposed, rules.internal ? '' : hostAddress, exposed.port))
  }
  // In another container's network: what it publishes is reached at the host, the rest at its address.
  const holder = networkMode.startsWith('container:') ? byId.get(networkMode.slice('container:'.length)) : container
  if (holder === undefined || !holder.state.running) return []
  if (holder !== container && holder.networkMode === 'host') {
    return container.exposed.map((exposed) => at(exposed, rules.internal ? '' : hostAddress, exposed.port))
  }
  const address = addressOf(holder)
  if (rules.internal || holder !== container) {
    return mergePorts(container.exposed, container.published).flatMap((exposed) => {
      const binding = rules.internal ? undefined : bindingOf(holder, exposed)
      if (binding !== undefined) return [at(exposed, rules.ip ?? (binding.address || rules.hostAddress), binding.port)]
      return address === undefined && !labelled ? [] : [at(exposed, address ?? '', exposed.port)]
    })
  }
  return container.published.map(({ port, protocol, bindings }) => {
    const binding = bindings[0] as Binding
    return at({ port, protocol }, rules.ip ?? (binding.address || rules.hostAddress), binding.port)
  })
}

function bindingOf(holder: Container, { port, protocol }: ExposedPort): Binding | undefined {
  return holder.published.find((published) => published.port === port && published.protocol === protocol)?.bindings[0]
}

/** In the network the container was started in; else in the first by name that gave it an address. */
function addressOf({ networkMode, networks }: Container): string | undefined {
  const main = networkMode === 'default' ? 'bridge' : networkMode
  const candidates = networks.filter((network) => network.address !== '')
  return (candidates.find(({ name, id }) => name === main || id === main) ?? candidates[0])?.address
}

function mergePorts(exposed: ExposedPort[], published: ExposedPort[]): ExposedPort[] {
  const ports = new Map(
    [...exposed, ...published].map(({ port, protocol }) => [`${port}/${protocol}`, { port, protocol }]),
  )
  return [...ports.values()].sort((one, other) => one.port - other.port || (one.protocol < other.protocol ? -1 : 1))
}

/** Undefined: even the id no other container can have was asked for by one. */
function idOf(
  container: Container,
  endpoint: Endpoint,
  { values }: Metadata,
  rules: ServiceRules,
  taken: ReadonlySet<string>,
): string | undefined {
  const own = `${rules.hostname}:${container.name}:${endpoint.port}${endpoint.protocol === 'tcp' ? '' : `:${endpoint.protocol}`}`
  // One SERVICE_ID for several ports or containers: the first has it, for an id names one instance.
  return [values.get('id') || own, own].find((id) => !taken.has(id))
}

function nameOf(container: Container, { port }: Endpoint, { values, ofPort }: Metadata, severalPorts: boolean): string {
  const name = values.get('name') || imageName(container.image)
  return severalPorts && !ofPort.has('name') ? `${name}-${port}` : name
}

/** `localhost:5000/team/api:1.2` is `api`; of an image without a name, its short id. */
function imageName(image: string): string {
  if (image.startsWith('sha256:')) return image.slice('sha256:'.length).slice(0, 12)
  return (image.split('@')[0] as string).split('/').at(-1)?.split(':')[0] as string
}

function tagsOf({ protocol }: Endpoint, { values }: Metadata, rules: ServiceRules): string[] {
  const tags = [...listOf(values.get('tags') ?? ''), ...rules.tags, ...(protocol === 'udp' ? ['udp'] : [])]
  return [...new Set(tags)]
}

function checksOf(id: string, endpoint: Endpoint, { values }: Metadata, rules: ServiceRules): CheckRegistration[] {
  const address = endpoint.address || rules.hostAddress
  const check = checkOf(values, { serviceId: id, address, port: endpoint.reachedAt })
  const checks = check === undefined ? [] : [check]
  if (rules.ttl > 0) {
    const heartbeat = { CheckID: heartbeatId(id), Name: 'registrator heartbeat', TTL: `${rules.ttl}ms` }
    checks.push({ ...heartbeat, Status: 'passing' })
  }
  return checks
}

/** The check that the registrator keeps passing with -ttl. */
export function heartbeatId(serviceId: string): string {
  return `service:${serviceId}:heartbeat`
}

const notMeta = new Set(['id', 'name', 'tags', 'ignore', 'enable_tag_override'])
/** Consul's limits: 64 pairs, keys of 128 and values of 512; the owner's three are among the 64. */
const metaPairsMax = 64 - 3
const metaKeyMax = 128
const metaValueMax = 512

/** All other keys become Meta, made such that the registry takes them: one bad key would cost the whole registration. */
function metaOf({ values }: Metadata): { meta: Record<string, string>; warnings: string[] } {
  const meta: Record<string, string> = {}
  const warnings: string[] = []
  for (const [key, value] of values) {
    if (notMeta.has(key) || key.startsWith('check_')) continue
    const legal = key
      .replace(/[^A-Za-z0-9_-]/g, '_')
      .replace(/^consul-/, 'consul_')
      .slice(0, metaKeyMax)
    if (Object.keys(meta).length === metaPairsMax) {
      warnings.push(`more than ${metaPairsMax} attributes, ${key} and later ones are left out`)
      break
    }
    if (legal !== key) warnings.push(`attribute ${key} is registered as ${legal}`)
    if (value.length > metaValueMax) warnings.push(`attribute ${key} is cut at ${metaValueMax} characters`)
    meta[legal] = value.slice(0, metaValueMax)
  }
  return { meta, warnings }
}

function isTrue(text: string | undefined): boolean {
  return text !== undefined && !['', '0', 'false', 'no'].includes(text.toLowerCase())
}

function portText({ port, protocol }: ExposedPort): string {
  return `${port}/${protocol}`
}

function byName(one: Container, other: Container): number {
  if (one.name === other.name) return 0
  return one.name < other.name ? -1 : 1
}
