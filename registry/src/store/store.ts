/**
 * The replicated state: keys and the catalog. Synchronous and deterministic; the same log gives the same state and the
 * same bytes from `snapshot()`. Knows nothing of terms, leaders, time or files.
 */
import { assert } from '../errors.ts'
import type {
  Check,
  Index,
  Instance,
  KvPair,
  Node,
  NodeCoordinate,
  NodeId,
  NodeName,
  PreparedQuery,
  Service,
  ServiceName,
  Session,
  SessionId,
} from '../model.ts'
import { CatalogAnswers } from './answers.ts'
import { Autopilot, type AutopilotRow } from './autopilot.ts'
import { Catalog, type Dependents } from './catalog.ts'
import { type Applied, decodeCommand, type Result, type SentCommand } from './command.ts'
import { Coordinates } from './coordinates.ts'
import { Kv } from './kv.ts'
import type { LockDelay } from './locks.ts'
import type { ReadOperation } from './operation.ts'
import { Origins } from './origins.ts'
import { Queries } from './queries.ts'
import { idMeant, missingSession, Sessions } from './sessions.ts'
import { readSnapshot, SnapshotReader, type State, writeSnapshot } from './snapshot.ts'
import { answer, transact } from './txn.ts'
import type { Indexed, Location, Topic, View } from './view.ts'
import { Watchers } from './watch.ts'

export { decodeCommand, encodeCommand } from './command.ts'

export class Store implements View {
  readonly #watchers = new Watchers()
  #index: Index = 0
  #kv = new Kv(this.#watchers)
  #queries = new Queries(this.#watchers)
  #sessions = new Sessions(this.#watchers, this.#kv, this.#queries)
  #coordinates = new Coordinates(this.#watchers)
  #catalog = new Catalog(this.#watchers, this.#dependents)
  #answers = new CatalogAnswers(this.#catalog)
  #autopilot = new Autopilot()
  #origins = new Origins()

  /** The last index applied here, or that of the snapshot restored. */
  get index(): Index {
    return this.#index
  }

  /**
   * Applies one committed command and wakes who waited for what it changed. Indexes rise; those of entries that are no
   * commands are left out.
   * @param command what `data` says, as `decodeCommand` reads it, if that was done already
   * @throws BadRequest for bytes that are no command this version knows: a replica that goes on would differ from the others.
   */
  apply(index: Index, data: Uint8Array, command: SentCommand = decodeCommand(data)): Result {
    assert(index > this.#index, `apply out of order: ${index} after ${this.#index}`)
    this.#index = index
    const { from } = command
    const result =
      from === undefined
        ? this.#apply(index, command)
        : this.#origins.once(from, index, () => this.#apply(index, command))
    this.#watchers.wake()
    return result
  }

  /** Slices of about 1,000 rows, of the state as it is now; later applies do not show. */
  snapshot(): Iterable<Uint8Array> {
    return writeSnapshot({
      index: this.#index,
      kv: this.#kv.state(),
      sessions: this.#sessions.state(),
      coordinates: this.#coordinates.state(),
      queries: this.#queries.state(),
      catalog: this.#catalog.state(),
      autopilot: this.#autopilot.row,
      origins: this.#origins.rows(),
    })
  }

  /**
   * Replaces the state and wakes everyone. Chunks may be cut anywhere.
   * @throws Corrupt when they are no whole snapshot; the state is then as it was.
   */
  restore(chunks: Iterable<Uint8Array>): void {
    this.#replace(readSnapshot(chunks))
  }

  /**
   * The same piece by piece, with time for other work between the calls: the state is as it was until `finish`, which
   * replaces it. To be given up at any time.
   */
  restoring(): { add(chunk: Uint8Array): void; finish(): void } {
    const reader = new SnapshotReader()
    return {
      add: (chunk) => reader.add(chunk),
      finish: () => this.#replace(reader.finish()),
    }
  }

  #replace(state: State): void {
    this.#index = state.index
    this.#kv = new Kv(this.#watchers, state.kv)
    this.#queries = new Queries(this.#watchers, state.queries)
    this.#sessions = new Sessions(this.#watchers, this.#kv, this.#queries, state.sessions)
    this.#coordinates = new Coordinates(this.#watchers, state.coordinates)
    this.#catalog = new Catalog(this.#watchers, this.#dependents, state.catalog)
    this.#answers = new CatalogAnswers(this.#catalog)
    this.#autopilot = new Autopilot(state.autopilot)
    this.#origins = new Origins(state.origins)
    this.#watchers.everythingChanged()
    this.#watchers.wake()
  }

  kv(key: string): Indexed<KvPair | undefined> {
    return this.#kv.pair(key)
  }

  kvUnder(prefix: string): Indexed<KvPair[]> {
    return this.#kv.under(prefix)
  }

  kvKeys(prefix: string, separator?: string): Indexed<string[]> {
    return this.#kv.keys(prefix, separator)
  }

  nodes(): Indexed<Node[]> {
    return this.#answers.nodes()
  }

  node(name: NodeName): Indexed<{ node: Node; services: Service[]; checks: Check[] } | undefined> {
    return this.#answers.node(name)
  }

  nodeById(id: NodeId): Node | undefined {
    return this.#catalog.rows.nodeById(id)
  }

  services(): Indexed<Map<ServiceName, string[]>> {
    return this.#answers.services()
  }

  instances(service: ServiceName, tags: readonly string[] = []): Indexed<Instance[]> {
    return this.#answers.instances(service, tags)
  }

  locations(service: ServiceName, tags: readonly string[] = []): Indexed<Location[]> {
    return this.#answers.locations(service, tags)
  }

  serviceChecks(service: ServiceName): Indexed<Check[]> {
    return this.#answers.serviceChecks(service)
  }

  nodeChecks(node: NodeName): Indexed<Check[]> {
    return this.#answers.nodeChecks(node)
  }

  checksInState(state: string): Indexed<Check[]> {
    return this.#answers.checksInState(state)
  }

  sessions(): Indexed<Session[]> {
    return { index: this.#sessions.changed, value: this.#sessions.all() }
  }

  nodeSessions(node: NodeName): Indexed<Session[]> {
    return { index: this.#sessions.changed, value: this.#sessions.ofNode(node) }
  }

  session(id: SessionId): Indexed<Session | undefined> {
    return { index: this.#sessions.changed, value: this.#sessions.get(id) }
  }

  coordinates(): Indexed<NodeCoordinate[]> {
    return this.#coordinates.all()
  }

  nodeCoordinates(node: NodeName): Indexed<NodeCoordinate[]> {
    return this.#coordinates.ofNode(node)
  }

  queries(): Indexed<PreparedQuery[]> {
    return { index: this.#queries.changed, value: this.#queries.all() }
  }

  query(id: string): Indexed<PreparedQuery | undefined> {
    return { index: this.#queries.changed, value: this.#queries.get(id) }
  }

  queryNamed(name: string): PreparedQuery | undefined {
    return this.#queries.named(name)
  }

  lockDelays(): LockDelay[] {
    return this.#kv.lockDelays()
  }

  autopilot(): AutopilotRow | undefined {
    return this.#autopilot.row
  }

  transaction(operations: readonly ReadOperation[]): Applied {
    return answer(this.#written, operations)
  }

  watch(topic: Topic, onChange: () => void): () => void {
    return this.#watchers.add(topic, onChange)
  }

  #apply(index: Index, command: ReturnType<typeof decodeCommand>): Result {
    switch (command.type) {
      case 'kv.set':
        return this.#kv.set(index, command)
      case 'kv.delete':
        return command.recurse === true
          ? this.#kv.deleteUnder(index, command.key)
          : this.#kv.delete(index, command.key, command.cas)
      case 'catalog.register':
        return this.#catalog.register(index, command)
      case 'catalog.deregister':
        return this.#catalog.deregister(index, command)
      case 'txn': {
        const result = transact(this.#written, index, command.operations)
        if (!result.value) this.#watchers.forget()
        return result
      }
      case 'tombstones.reap':
        this.#origins.reap(command.upTo)
        return this.#kv.reap(command.upTo)
      case 'kv.lock': {
        // First of all, as in Consul, where the leader looks before the log.
        if (this.#kv.isDelayed(command.key)) return { value: false }
        const holder = this.#sessions.holderNamed(command.session)
        return 'error' in holder ? holder : this.#kv.lock(index, command, holder.id)
      }
      case 'kv.unlock': {
        if (command.session === '') return { error: missingSession }
        return this.#kv.unlock(index, command, idMeant(command.session))
      }
      case 'session.create':
        return this.#sessions.create(index, command.session, this.#catalog.rows)
      case 'session.destroy':
      case 'session.expire':
        return this.#sessions.destroy(index, command.id)
      case 'autopilot.set':
        return this.#autopilot.set(index, command)
      case 'locks.undelay':
        return this.#kv.endDelays(command.marks)
      case 'coordinates.update':
        return this.#coordinates.update(index, command.updates, this.#catalog.rows)
      case 'query.set':
        return this.#queries.set(index, command, this.#sessions)
      case 'query.delete':
        return this.#queries.delete(index, command.id)
    }
  }

  get #written() {
    const coordinates = this.#coordinates
    const queries = this.#queries
    return { kv: this.#kv, sessions: this.#sessions, catalog: this.#catalog, coordinates, queries }
  }

  get #dependents(): Dependents {
    const sessions = this.#sessions
    const coordinates = this.#coordinates
    return {
      nodeGone: (index, node) => {
        sessions.nodeGone(index, node)
        coordinates.nodeGone(index, node)
      },
      checkLost: (index, node, id) => sessions.checkLost(index, node, id),
    }
  }
}
