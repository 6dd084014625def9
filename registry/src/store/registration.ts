/** Whether a registration may be, and what it does to nodes: decided before anything changes. Error texts are Consul's. */
import { isDeepStrictEqual } from 'node:util'
import { type Index, type Node, type NodeDefinition, type NodeName, serfHealthId } from '../model.ts'
import type { Command } from './command.ts'
import type { CatalogRows } from './rows.ts'
import { separator } from './table.ts'

export interface NodeChange {
  /** As the node is spelled in rows. */
  name: NodeName
  /** Nodes to remove first, with their services and checks. */
  replaced: Node[]
  /** Undefined when the row stays as it is. */
  definition?: NodeDefinition
  /** Of the row that goes on under another name or id. */
  createIndex?: Index
}

/**
 * A node is its id, when it has one: an id that comes under another name renames its node, which loses its services and
 * checks until its agent registers them again. A name belongs to an id as long as the node is not known to be dead.
 *
 * Unlike Consul, a registration without an id leaves the id of the node as it is: whoever registers a service through the
 * catalog on an agent's node does not mean to take its identity away.
 */
export function nodeChange(
  rows: CatalogRows,
  node: NodeDefinition,
  skipNodeUpdate: boolean,
): NodeChange | { error: string } {
  const named = rows.node(node.name)
  if (named !== undefined && skipNodeUpdate) return { name: named.name, replaced: [] }
  const owner = node.id === '' ? undefined : rows.nodeById(node.id)
  const renamed = owner !== undefined && owner.name !== node.name
  if (named !== undefined && node.id !== '' && named.id !== node.id) {
    // A node without an id may be taken over by an agent of its name, not by an agent that changes its name.
    if ((named.id !== '' || renamed) && isAlive(rows, named)) {
      const who = renamed ? `"${node.id}" (${node.address})` : `"${node.id}"`
      return {
        error:
          `failed inserting node: Error while renaming Node ID: ${who}: ` +
          `Node name ${node.name} is reserved by node ${named.id} with name ${named.name} (${named.address})`,
      }
    }
  }

  const replaced = new Set<Node>()
  if (renamed) replaced.add(owner)
  // Rows of services and checks hold the name as it was spelled, so another spelling is another node.
  if (named !== undefined && node.id !== '' && named.name !== node.name) replaced.add(named)
  const before = owner ?? named
  const definition: NodeDefinition = {
    id: node.id !== '' ? node.id : (named?.id ?? ''),
    name: node.id === '' && named !== undefined ? named.name : node.name,
    address: node.address,
    datacenter: node.datacenter,
    taggedAddresses: node.taggedAddresses,
    meta: node.meta,
  }
  const change = { name: definition.name, replaced: [...replaced] }
  if (before === undefined) return { ...change, definition }
  const { createIndex, modifyIndex, ...current } = before
  if (replaced.size === 0 && isDeepStrictEqual(current, definition)) return change
  return { ...change, definition, createIndex }
}

/** Consul takes a node without a serfHealth check for one that no agent stands behind. */
function isAlive(rows: CatalogRows, node: Node): boolean {
  const serfHealth = rows.check(node.name, serfHealthId)
  return serfHealth !== undefined && serfHealth.status !== 'critical'
}

/** Why the service or one of the checks cannot be registered. */
export function refusal(
  rows: CatalogRows,
  change: NodeChange,
  { service, checks }: Extract<Command, { type: 'catalog.register' }>,
): string | undefined {
  const noKey = 'object missing primary index'
  if (change.name === '') return `failed inserting node: ${noKey}`
  if (service !== undefined && (service.id === '' || service.name === '')) {
    return `failed inserting service: failed inserting service: ${noKey}`
  }
  const names = [change.name, service?.id ?? '', service?.name ?? '', ...checks.map((check) => check.id)]
  if (names.some((name) => name.includes(separator))) return 'names and ids must not hold the character NUL'
  const losesServices = change.replaced.some((node) => node === rows.node(change.name))
  for (const check of checks) {
    if (check.id === '') return `failed inserting check: failed inserting check: ${noKey} on node "${change.name}"`
    if (check.serviceId === '' || check.serviceId === service?.id) continue
    if (losesServices || rows.service(change.name, check.serviceId) === undefined) {
      return `failed inserting check: Missing service registration on node "${change.name}"`
    }
  }
  return undefined
}
