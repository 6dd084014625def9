/** What a face may ask of other datacenters, and what travels there and back. */
import type { Instance, Millis, Node } from '../model.ts'
import type { Executed, QueryErrand } from './queries.ts'

/** One request of the HTTP API on its way to another datacenter; its `?dc=` stays behind. */
export interface Travelling {
  method: string
  /** Decoded. */
  path: string
  /** Without `?`. */
  query: string
  /** Names in lower case. */
  headers: Record<string, string>
  body: Uint8Array
  /** Several lines, as the agent asked first is told to answer. */
  pretty: boolean
  /** The name of the agent that was asked first: it is the one that "this node" means. */
  node: string
}

export interface Travelled {
  status: number
  headers: Record<string, string>
  body: Uint8Array
}

/** Answers a request that came from another datacenter; never sends it on. */
export type TravelAnswer = (request: Travelling, abandoned: AbortSignal) => Promise<Travelled>

/** What a question of DNS needs of the catalog there. */
export type Sought = { service: string; tag: string | undefined; onlyPassing: boolean } | { node: string }

/** `index` is that of the store it was found in, 0 for one that never heard of a leader. */
export interface Found {
  index: number
  /** Of a service: instances that may be named, a random choice of them when they are very many. */
  instances: Instance[]
  /** Of a node, if there is one of that name. */
  node: Node | undefined
}

export interface ElsewhereSurface {
  /** Whether there is such a datacenter besides ours; undefined: only a server of ours would know. */
  knows(datacenter: string): boolean | undefined
  /** All that are known: ours first, then by distance as far as it is known, then by name. @throws DatacenterLost on an agent that reaches no server of its own */
  datacenters(): Promise<string[]>
  /**
   * Has a server there answer this.
   * @param waits how long it may be held there: 0 but for blocking queries
   * @throws NoPath nobody knows that datacenter; DatacenterLost nothing was done; LeadershipLost a write may have been
   * done; Busy; whatever `abandoned` says
   */
  http(datacenter: string, request: Travelling, waits: Millis, abandoned?: AbortSignal): Promise<Travelled>
  /** Looks up names there, within `within`. @throws as `http` */
  find(datacenter: string, sought: Sought, within: Millis): Promise<Found>
  /** Executes a prepared query there, within `within`; undefined: there is none of that name. @throws as `http`, Refused */
  query(datacenter: string, errand: QueryErrand, within: Millis): Promise<Executed | undefined>
  /** What requests from elsewhere are answered with; without it they are refused. */
  answerWith(answer: TravelAnswer): void
}
