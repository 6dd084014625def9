/** A Docker engine as the registrator needs it; `docker.ts` is the real one, a test brings an array of containers. */
import type { Container } from './container.ts'

export interface Engine {
  /** The engine's own id and the name of its host. Any call rejects when the engine does not answer in time. */
  identity(): Promise<{ id: string; name: string }>
  /** Ids of all containers, ended ones too. */
  list(): Promise<string[]>
  /** Undefined: there is no such container any more. */
  inspect(id: string): Promise<Container | undefined>
  /**
   * Resolves when events flow, so that what happens after that is seen. `onChange` gets the id of a container about
   * which something happened; `onEnd` is called once when the stream ends, unless `close` ended it.
   */
  subscribe(onChange: (id: string) => void, onEnd: (reason: Error) => void): Promise<Subscription>
}

export interface Subscription {
  close(): void
}
