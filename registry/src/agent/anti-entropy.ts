/** When this node's rows of the catalog are compared with what is registered here, and who waits for it. */
import { NoLeader } from '../errors.ts'
import type { Io } from '../io/io.ts'
import type { Millis, NodeDefinition } from '../model.ts'
import type { Command } from '../store/command.ts'
import type { View } from '../store/view.ts'
import type { Deadlines } from './deadlines.ts'
import type { Following } from './following.ts'
import type { Local } from './local.ts'
import { Reconciler } from './reconciler.ts'
import type { Fresh, Freshness, Written } from './surface.ts'
import { consulServiceId, Sync } from './sync.ts'

/** Full comparison at least this often (Consul's anti-entropy). */
const fullSyncInterval: Millis = 60_000
/** When somebody took this node out of the catalog: not at once, for whoever did so may have more to say. */
const lostRowsPause: Millis = 1_000
/** A registration that the catalog does not have by then is answered all the same. */
const settleWait: Millis = 1_000

export interface AntiEntropyOptions {
  io: Io
  deadlines: Deadlines
  following: Following
  local: Local
  /** This node's own store as it is. */
  view: View
  node: NodeDefinition
  server: boolean
  outputInterval: Millis
  read(freshness: Freshness): Promise<Fresh>
  write(command: Command): Promise<Written>
}

export class AntiEntropy {
  readonly #options: AntiEntropyOptions
  readonly #sync: Sync
  readonly #reconciler: Reconciler
  readonly #waiting = new Set<{ run: number; resolve(): void }>()
  #begun = 0
  #rowsLost = false
  #left = false
  #stopped = false

  constructor(options: AntiEntropyOptions) {
    this.#options = options
    const { io, following, local, node, server, outputInterval, read, write } = options
    this.#sync = new Sync({
      node: () => node,
      server,
      local,
      view: async () => {
        if (following.leader === '') throw new NoLeader()
        return (await read('default')).view
      },
      write,
      now: () => io.clock.now(),
      log: io.log,
      outputInterval,
    })
    this.#reconciler = new Reconciler({
      work: () => this.#run(),
      every: fullSyncInterval,
      backOffMin: 1_000,
      backOffMax: 15_000,
      random: io.random,
      onFailure: () => {},
    })
  }

  /** Looks after the own rows from now on. */
  begin(): void {
    const { view, node } = this.#options
    view.watch({ kind: 'node', node: node.name }, () => this.#onOwnRows())
  }

  wake(): void {
    this.#reconciler.wake()
  }

  tick(now: Millis): void {
    this.#reconciler.tick(now)
  }

  /** Resolves when a comparison that began after this call has ended, at once without a leader, and after a moment. */
  settled(): Promise<void> {
    const { io, deadlines, following } = this.#options
    if (following.leader === '' || this.#stopped) return Promise.resolve()
    const run = this.#begun + 1
    const now = io.clock.now()
    const ended = new Promise<void>((resolve) => this.#waiting.add({ run, resolve }))
    this.#reconciler.wake()
    this.#reconciler.tick(now)
    return Promise.race([ended, deadlines.until(now + settleWait)])
  }

  /** This node leaves: who takes its rows away is right. */
  leave(): void {
    this.#left = true
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#reconciler.stop()
  }

  async #run(): Promise<void> {
    const run = ++this.#begun
    try {
      await this.#sync.run()
    } finally {
      // One that failed will be run again; nobody who registered should wait for that.
      for (const waiting of [...this.#waiting]) {
        if (waiting.run > run) continue
        this.#waiting.delete(waiting)
        waiting.resolve()
      }
    }
  }

  /**
   * Old news that this agent had left or failed, or a wrong word to the catalog, takes what is registered here away from
   * everybody: that shall not last until the next full comparison. Rows that only differ can wait for it, or two who
   * disagree would write for ever.
   */
  #onOwnRows(): void {
    if (this.#rowsLost || this.#left || this.#stopped) return
    const { io, deadlines, view, node, local } = this.#options
    const known = view.node(node.name).value
    const held = new Set(known?.services.map(({ id }) => id))
    if (this.#sync.awaitsConsul && held.has(consulServiceId)) this.wake()
    if (known !== undefined && local.services().every(({ definition }) => held.has(definition.id))) return
    this.#rowsLost = true
    deadlines.at(io.clock.now() + lostRowsPause, () => {
      this.#rowsLost = false
      this.wake()
    })
  }
}
