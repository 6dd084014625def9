/** What a log entry may say, and what applying it answers. A command is a complete decision: apply never asks the world. */
import type {
  Base64,
  CheckId,
  CheckResult,
  Index,
  NodeDefinition,
  NodeName,
  ServiceDefinition,
  ServiceId,
} from '../model.ts'

export type Command =
  /** `cas` 0: only if the key does not exist; above 0: only if its modifyIndex is that. */
  | { type: 'kv.set'; key: string; value: Base64; flags: string; cas?: Index }
  /** `recurse`: every key that begins with `key`. */
  | { type: 'kv.delete'; key: string; cas?: Index; recurse?: boolean }
  /** Node, then service, then checks; a check's serviceName and serviceTags are looked up here. */
  | {
      type: 'catalog.register'
      node: NodeDefinition
      service?: ServiceDefinition
      checks: CheckResult[]
      /** The node row is only made when absent, never changed (an agent that is a guest on someone else's node). */
      skipNodeUpdate?: boolean
    }
  /** Without serviceId and checkId: the whole node. A deregistration of what is not there changes nothing and is fine. */
  | { type: 'catalog.deregister'; node: NodeName; serviceId?: ServiceId; checkId?: CheckId }
  /** Forget that keys up to this index were deleted. */
  | { type: 'tombstones.reap'; upTo: Index }

/** `value` false: a check-and-set that did not match. `error`: the command was refused by the state; nothing changed. */
export type Result = { value: boolean } | { error: string }
