/**
 * "It moves whenever the answer does": the promise of every index that a long poll waits for, looked at around each command
 * that is applied. Only the questions that a command of its kind can change are asked.
 */
import type { Index } from '../../src/model.ts'
import type { Command } from '../../src/store/command.ts'
import type { Operation } from '../../src/store/operation.ts'
import type { Indexed, Location, View } from '../../src/store/view.ts'
import { Violation } from './checkers.ts'

/** @throws Violation when an answer is another after `apply`, and its index is not that of the command. */
export function expectIndexesToMove(view: View, command: Command, index: Index, apply: () => void): void {
  const questions = questionsOf(view, command)
  // Rows are never changed, so that most need not be looked at closely.
  const before = questions.map(([, ask]) => ask())
  apply()
  for (const [at, [question, ask]] of questions.entries()) {
    const after = ask()
    if (after.index !== index && textOf(after) !== textOf(before[at]!)) {
      throw new Violation(`${command.type} at ${index} changed ${question}, whose index stays at ${after.index}`)
    }
  }
}

type Question = [name: string, ask: () => Indexed<unknown>]

function questionsOf(view: View, command: Command): Question[] {
  switch (command.type) {
    case 'kv.set':
    case 'kv.delete':
    case 'kv.lock':
    case 'kv.unlock':
      return aboutKey(view, command.key)
    case 'txn':
      return command.operations.flatMap((operation) => aboutOperation(view, operation))
    case 'catalog.register':
      return [...aboutNode(view, command.node.name), ...aboutService(view, command.service?.name)]
    case 'catalog.deregister':
      return [...aboutNode(view, command.node), ...aboutSessions(view)]
    case 'session.create':
    case 'session.destroy':
    case 'session.expire':
      return aboutSessions(view)
    case 'query.set':
    case 'query.delete':
      return [['the list of prepared queries', () => view.queries()]]
    case 'coordinates.update':
      return command.updates.flatMap(({ node }) => aboutCoordinates(view, node))
    case 'tombstones.reap':
    case 'locks.undelay':
    case 'autopilot.set':
      return []
    default:
      return command satisfies never
  }
}

function aboutOperation(view: View, operation: Operation): Question[] {
  return 'key' in operation ? aboutKey(view, operation.key) : []
}

function aboutKey(view: View, key: string): Question[] {
  const prefix = key.slice(0, key.lastIndexOf('/') + 1)
  return [
    [`key ${key}`, () => view.kv(key)],
    [`keys under "${prefix}"`, () => view.kvUnder(prefix)],
  ]
}

function aboutCoordinates(view: View, node: string): Question[] {
  return [
    ['coordinates', () => view.coordinates()],
    [`the coordinates of node ${node}`, () => view.nodeCoordinates(node)],
  ]
}

/** With everything that is on it. */
function aboutNode(view: View, node: string): Question[] {
  const services = new Set(view.node(node).value?.services.map(({ name }) => name))
  return [
    ['nodes', () => view.nodes()],
    [`node ${node}`, () => view.node(node)],
    [`the checks of node ${node}`, () => view.nodeChecks(node)],
    ['critical checks', () => view.checksInState('critical')],
    ['services', () => view.services()],
    ...aboutCoordinates(view, node),
    ...[...services].flatMap((service) => aboutService(view, service)),
  ]
}

function aboutService(view: View, service: string | undefined): Question[] {
  if (service === undefined) return []
  return [
    [`instances of ${service}`, () => view.instances(service)],
    [`where ${service} is`, () => whereOnly(view.locations(service))],
    [`checks of ${service}`, () => view.serviceChecks(service)],
  ]
}

/** The answer may come with more than was asked for. */
function whereOnly({ index, value }: Indexed<Location[]>): Indexed<Location[]> {
  return { index, value: value.map(({ node, service }) => ({ node, service })) }
}

/** Their end releases or deletes keys. */
function aboutSessions(view: View): Question[] {
  return [
    ['sessions', () => view.sessions()],
    ['all keys', () => view.kvUnder('')],
  ]
}

function textOf({ value }: Indexed<unknown>): string {
  return JSON.stringify(value instanceof Map ? [...value] : value) ?? ''
}
