/**
 * Whose a registration is, written in its Meta. A registrator changes and removes only what carries its own id and
 * the id of the engine it watches: two registrators on one agent, or two engines behind one, leave each other alone.
 */
export interface Owner {
  /** The registrator's: the host's name unless another was chosen. */
  id: string
  /** The engine's own id, as `docker info` gives it. */
  engine: string
}

const idKey = 'registrator-id'
const engineKey = 'registrator-engine'
const containerKey = 'registrator-container'

type Meta = Record<string, string> | null | undefined

export function ownerMeta(owner: Owner, container: string): Record<string, string> {
  return { [idKey]: owner.id, [engineKey]: owner.engine, [containerKey]: container }
}

export function isOwned(meta: Meta, owner: Owner): boolean {
  return meta?.[idKey] === owner.id && meta[engineKey] === owner.engine
}

/** Nobody's mark is on it: registered by hand, by the service itself, or by another program. */
export function isUnmarked(meta: Meta): boolean {
  return meta?.[idKey] === undefined
}

/** The container a registration was made for; '' when it does not say. */
export function containerOfMeta(meta: Meta): string {
  return meta?.[containerKey] ?? ''
}
