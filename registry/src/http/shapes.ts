/**
 * The nouns in Consul's spelling and field order. Where Consul says null, `{}`, `[]` or nothing at all differs from
 * answer to answer, and clients in strict languages notice: each shape follows what Consul 1.8 was recorded to send.
 */
import type { LocalCheck } from '../agent/surface.ts'
import type {
  Check,
  Instance,
  Member,
  MemberStatus,
  Node,
  Service,
  ServiceAddress,
  ServiceDefinition,
} from '../model.ts'
import type { Location } from '../store/view.ts'
import { sorted } from './json.ts'

// Connect is not there; its empty remains are part of the shape.
const proxy = { MeshGateway: {}, Expose: {} }
const connect = {}

/** catalog/nodes, and `Node` in catalog/node and health/service. */
export function consulNode(node: Node) {
  return {
    ID: node.id,
    Node: node.name,
    Address: node.address,
    Datacenter: node.datacenter,
    TaggedAddresses: orNull(node.taggedAddresses),
    Meta: orNull(node.meta),
    CreateIndex: node.createIndex,
    ModifyIndex: node.modifyIndex,
  }
}

/** A service under its node: catalog/node, catalog/node-services, health/service. */
export function nodeService(service: Service) {
  return {
    ID: service.id,
    Service: service.name,
    Tags: service.tags,
    Address: service.address,
    ...taggedAddresses('TaggedAddresses', service.taggedAddresses),
    Meta: orNull(service.meta),
    Port: service.port,
    Weights: consulWeights(service),
    EnableTagOverride: service.enableTagOverride,
    Proxy: proxy,
    Connect: connect,
    CreateIndex: service.createIndex,
    ModifyIndex: service.modifyIndex,
  }
}

/** catalog/service: node and service in one row. */
export function serviceNode({ node, service }: Location) {
  return {
    ID: node.id,
    Node: node.name,
    Address: node.address,
    Datacenter: node.datacenter,
    TaggedAddresses: orNull(node.taggedAddresses),
    NodeMeta: orNull(node.meta),
    ServiceKind: '',
    ServiceID: service.id,
    ServiceName: service.name,
    ServiceTags: service.tags,
    ServiceAddress: service.address,
    ...taggedAddresses('ServiceTaggedAddresses', service.taggedAddresses),
    ServiceWeights: consulWeights(service),
    ServiceMeta: sorted(service.meta ?? {}),
    ServicePort: service.port,
    ServiceEnableTagOverride: service.enableTagOverride,
    ServiceProxy: proxy,
    ServiceConnect: connect,
    CreateIndex: service.createIndex,
    ModifyIndex: service.modifyIndex,
  }
}

/** A check as the catalog holds it. */
export function consulCheck(check: Check) {
  return {
    Node: check.node,
    CheckID: check.id,
    Name: check.name,
    Status: check.status,
    Notes: check.notes,
    Output: check.output,
    ServiceID: check.serviceId,
    ServiceName: check.serviceName,
    ServiceTags: check.serviceTags,
    Type: check.type,
    Definition: check.definition,
    CreateIndex: check.createIndex,
    ModifyIndex: check.modifyIndex,
  }
}

/** health/service: an instance with everything that decides about it. */
export function checkServiceNode({ node, service, checks }: Instance) {
  return { Node: consulNode(node), Service: nodeService(service), Checks: checks.map(consulCheck) }
}

/** A service as its own agent lists it: nothing of the catalog in it. */
export function agentService(service: ServiceDefinition) {
  return {
    ID: service.id,
    Service: service.name,
    Tags: service.tags,
    Meta: sorted(service.meta ?? {}),
    Port: service.port,
    Address: service.address,
    ...taggedAddresses('TaggedAddresses', service.taggedAddresses),
    Weights: consulWeights(service),
    EnableTagOverride: service.enableTagOverride,
  }
}

/** A check as its own agent lists it. `service` is the one it belongs to, if any. */
export function agentCheck(node: string, { result }: LocalCheck, service: ServiceDefinition | undefined) {
  return {
    Node: node,
    CheckID: result.id,
    Name: result.name,
    Status: result.status,
    Notes: result.notes,
    Output: result.output,
    ServiceID: result.serviceId,
    ServiceName: service?.name ?? '',
    ServiceTags: service?.tags ?? [],
    Type: result.type,
    Definition: {},
    CreateIndex: 0,
    ModifyIndex: 0,
  }
}

/** Serf's numbers. A suspect still counts as alive: Serf does not show suspicion. */
const memberStatus: Readonly<Record<MemberStatus, number>> = { alive: 1, suspect: 1, leaving: 2, left: 3, failed: 4 }

export function consulMember(member: Member) {
  return {
    Name: member.name,
    Addr: member.address.host,
    Port: member.address.port,
    Tags: sorted(member.tags),
    Status: memberStatus[member.status],
    // What Consul 1.8 agents speak; clients show it, nothing depends on it.
    ProtocolMin: 1,
    ProtocolMax: 5,
    ProtocolCur: 2,
    DelegateMin: 2,
    DelegateMax: 5,
    DelegateCur: 4,
  }
}

function consulWeights({ weights }: ServiceDefinition) {
  return { Passing: weights.passing, Warning: weights.warning }
}

function orNull(map: Readonly<Record<string, string>> | null): Record<string, string> | null {
  return map === null ? null : sorted(map)
}

/** Left out when there are none. */
function taggedAddresses(name: string, addresses: Readonly<Record<string, ServiceAddress>> | null) {
  const entries = Object.entries(addresses ?? {})
  if (entries.length === 0) return undefined
  const shaped = entries.map(([tag, { address, port }]) => [tag, { Address: address, Port: port }] as const)
  return { [name]: sorted(Object.fromEntries(shaped)) }
}
