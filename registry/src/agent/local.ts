/**
 * Services and checks registered at this agent: ground state of this node, one file each in the data directory, so a
 * restart keeps them. Runs the probes that fall due. Does not write the catalog; `sync.ts` does, woken by `onChange`.
 */
import { BadRequest, Corrupt, NotFound } from '../errors.ts'
import { Checks } from '../health/checks.ts'
import { type CheckDefinition, runsProgram } from '../health/definition.ts'
import type { Io, ProbeOutcome, ProbeRequest } from '../io/io.ts'
import type { CheckId, CheckResult, CheckStatus, Millis, NodeName, ServiceDefinition, ServiceId } from '../model.ts'
import { serfHealthId } from '../model.ts'
import { Aliases, type AliasSources } from './aliases.ts'
import { type Definitions, noDefinitions, noScripts, type ScriptRules } from './definitions.ts'
import { loadJson, saveJson } from './files.ts'
import { isCheck, isService } from './kept-registration.ts'
import { SaidStatuses } from './said-statuses.ts'
import type { LocalCheck, LocalService, LocalSurface } from './surface.ts'

interface Kept<T> {
  /** Number of its file: ids are free text and file names are not. Undefined: the configuration defines it, and no file. */
  file: number | undefined
  definition: T
}

export interface LocalOptions {
  /** The service id that is the leader's to write on this node. */
  reserved?: ServiceId | undefined
  /** What the configuration defines. */
  definitions?: Definitions
  scripts?: ScriptRules
  /** The name of this node, and what the catalog has of a node: for alias checks. */
  node?: NodeName
  catalog?: AliasSources['node']
}

/** An alias of an alias of an alias … is followed this far at once; the rest comes with the next tick. */
const aliasLinksMax = 8
/** How often services are looked for whose check has been critical for too long (Consul's reaper: 30 s). */
const expiryInterval: Millis = 30_000

export class Local implements LocalSurface {
  readonly #io: Io
  readonly #onChange: () => void
  readonly #reserved: ServiceId | undefined
  readonly #services = new Map<ServiceId, Kept<ServiceDefinition>>()
  readonly #kept = new Map<CheckId, Kept<CheckDefinition>>()
  readonly #checks: Checks
  readonly #aliases: Aliases
  readonly #scripts: ScriptRules
  readonly #said: SaidStatuses
  /**
   * Files whose last writing or removing failed, by folder and id. It may have happened all the same and would count at
   * the next start: until it succeeds, the disk is not believed to say what the maps say.
   */
  readonly #doubtful = new Map<string, number>()
  #nextFile = 1
  /** Something was registered or is gone since aliases were looked at. */
  #registered = true
  #nextExpiry: Millis
  #lastLook: Millis
  /** Writers wait for one another, so that the files say what the maps say. */
  #turn: Promise<unknown> = Promise.resolve()

  private constructor(io: Io, onChange: () => void, options: LocalOptions, said: SaidStatuses) {
    this.#said = said
    this.#reserved = options.reserved
    this.#scripts = options.scripts ?? noScripts
    this.#io = io
    this.#onChange = onChange
    this.#checks = new Checks(io.random)
    this.#aliases = new Aliases(this.#checks, options.node ?? '', {
      hasService: (id) => this.#services.has(id),
      node: options.catalog ?? (() => undefined),
    })
    this.#lastLook = io.clock.now()
    this.#nextExpiry = this.#lastLook + expiryInterval
  }

  /**
   * Reads what was registered before; what the configuration defines takes the place of what was kept under the same id.
   * @throws Corrupt; BadRequest for definitions that cannot be
   */
  static async open(io: Io, onChange: () => void, options: LocalOptions = {}): Promise<Local> {
    const { definitions = noDefinitions } = options
    const local = new Local(io, onChange, options, await SaidStatuses.open(io))
    for (const { file, definition } of await local.#load('services', isService)) {
      local.#services.set(definition.id, { file, definition })
    }
    const defined = new Set(definitions.services.map(({ service }) => service.id))
    const definedChecks = new Set(
      [...definitions.services.flatMap(({ checks }) => checks), ...definitions.checks].map(({ id }) => id),
    )
    for (const { file, definition } of await local.#load('checks', isCheck)) {
      const { serviceId } = definition
      if (serviceId !== '' && !local.#services.has(serviceId) && !defined.has(serviceId)) {
        // The service went, and the process with it before its checks.
        await io.disk.remove(`checks/${file}.json`)
        continue
      }
      local.#kept.set(definition.id, { file, definition })
      if (definedChecks.has(definition.id)) continue
      local.#checks.set(definition, io.clock.now(), local.#saidOf(definition))
    }
    await local.configure(definitions)
    return local
  }

  /**
   * The configuration defines these now, and no others: what it defined before and does not any more goes, with its
   * checks. What was registered over HTTP stays, unless a definition has its id. With a mistake nothing changes.
   * @throws BadRequest
   */
  configure({ services, checks }: Definitions): Promise<void> {
    return this.#inTurn(async () => {
      const definedServices = new Map(services.map(({ service }) => [service.id, service]))
      // The last of several with one id counts, as in Consul.
      const definedChecks = new Map(
        [...services.flatMap((each) => each.checks), ...checks].map((each) => [each.id, each]),
      )
      for (const id of definedServices.keys()) this.#expectNotReserved(id)
      for (const { id, serviceId } of definedChecks.values()) {
        expectFree(id)
        const kept = this.#services.get(serviceId)
        const known = definedServices.has(serviceId) || (kept !== undefined && kept.file !== undefined)
        if (serviceId !== '' && !known) {
          throw new BadRequest(`Failed to register check "${id}": ServiceID "${serviceId}" does not exist`)
        }
      }
      for (const [id, { file }] of [...this.#services]) {
        if (file !== undefined || definedServices.has(id)) continue
        this.#services.delete(id)
        for (const { definition } of [...this.#kept.values()]) {
          if (definition.serviceId === id && !definedChecks.has(definition.id)) await this.#forgetCheck(definition.id)
        }
      }
      for (const [id, { file }] of [...this.#kept]) {
        if (file === undefined && !definedChecks.has(id)) await this.#forgetCheck(id)
      }
      for (const [id, definition] of definedServices) {
        await this.#forget('services', this.#services, id)
        this.#services.set(id, { file: undefined, definition })
      }
      for (const [id, definition] of definedChecks) {
        await this.#forget('checks', this.#kept, id)
        this.#kept.set(id, { file: undefined, definition })
        this.#begin(definition)
      }
    })
  }

  services(): LocalService[] {
    return [...this.#services.values()].map(({ definition }) => ({ definition }))
  }

  checks(): LocalCheck[] {
    return this.#checks.list().map(({ definition, status, output }) => ({
      definition,
      result: {
        id: definition.id,
        name: definition.name,
        status,
        notes: definition.notes,
        output,
        serviceId: definition.serviceId,
        type: definition.how.type,
        definition: {},
      } satisfies CheckResult,
    }))
  }

  registerService(service: ServiceDefinition, checks: CheckDefinition[], replaceChecks: boolean): Promise<void> {
    return this.#inTurn(async () => {
      this.#expectNotReserved(service.id)
      for (const { id } of checks) expectFree(id)
      const stays = new Set(checks.map(({ id }) => id))
      for (const check of checks) {
        const other = this.#kept.get(check.id)?.definition.serviceId ?? check.serviceId
        if (other !== check.serviceId) throw takenCheck(check.id, other)
      }
      await this.#keep('services', this.#services, service.id, service)
      if (replaceChecks) {
        for (const { definition } of [...this.#kept.values()]) {
          if (definition.serviceId === service.id && !stays.has(definition.id)) await this.#forgetCheck(definition.id)
        }
      }
      for (const check of checks) await this.#keepCheck(check)
    })
  }

  deregisterService(id: ServiceId): Promise<void> {
    return this.#inTurn(async () => {
      if (!this.#services.has(id)) {
        await this.#forget('services', this.#services, id)
        throw new NotFound(`Unknown service "${id}"`)
      }
      // First the service: left behind without its checks it would count as healthy.
      await this.#forget('services', this.#services, id)
      for (const { definition } of [...this.#kept.values()]) {
        if (definition.serviceId === id) await this.#forgetCheck(definition.id)
      }
    })
  }

  registerCheck(check: CheckDefinition): Promise<void> {
    return this.#inTurn(async () => {
      expectFree(check.id)
      if (check.serviceId !== '' && !this.#services.has(check.serviceId)) {
        throw new BadRequest(`ServiceID "${check.serviceId}" does not exist`)
      }
      await this.#keepCheck(check)
    })
  }

  deregisterCheck(id: CheckId): Promise<void> {
    return this.#inTurn(async () => {
      if (!this.#kept.has(id)) {
        await this.#forget('checks', this.#kept, id)
        throw new NotFound(`Unknown check "${id}"`)
      }
      await this.#forgetCheck(id)
    })
  }

  async updateTtl(id: CheckId, status: CheckStatus, output: string): Promise<void> {
    const now = this.#io.clock.now()
    this.#noticeStall(now)
    const done = this.#checks.ttl(id, status, output, now)
    if (done === 'unknown') throw new NotFound(`CheckID "${id}" does not have associated TTL`)
    if (done === 'notTtl') throw new BadRequest(`CheckID "${id}" does not have associated TTL`)
    // As it was kept: long outputs are cut.
    this.#said.says(id, status, this.#checks.get(id)?.output ?? output)
    this.#report()
  }

  tick(now: Millis): void {
    this.#noticeStall(now)
    this.#checks.tick(now)
    this.#said.tick(now)
    for (const { id, request, run } of this.#checks.due(now)) {
      void this.#probe(id, request).then((outcome) => {
        const finished = this.#io.clock.now()
        this.#noticeStall(finished)
        this.#checks.finished(id, run, outcome, finished)
        this.#report()
      })
    }
    if (now >= this.#nextExpiry) {
      this.#nextExpiry = now + expiryInterval
      for (const id of this.#checks.expired(now)) this.#expire(id)
    }
    this.#report()
  }

  /** What is kept of what was said is with the system when this resolves. */
  flush(): Promise<void> {
    return this.#said.flush()
  }

  #saidOf({ id, how }: CheckDefinition): { status: CheckStatus; output: string } | undefined {
    return how.type === 'ttl' ? this.#said.of(id, how.ttl) : undefined
  }

  /** A program that may not run any more, since the agent was started otherwise, does not. */
  async #probe(id: CheckId, request: ProbeRequest): Promise<ProbeOutcome> {
    const kept = this.#kept.get(id)
    if (kept === undefined || !runsProgram(kept.definition.how)) return this.#io.probe(request)
    const [allowed, keys] =
      kept.file === undefined
        ? [this.#scripts.files, "'enable_script_checks' or 'enable_local_script_checks'"]
        : [this.#scripts.remote, "'enable_script_checks'"]
    if (allowed) return this.#io.probe(request)
    return { status: 'critical', output: `Scripts are disabled on this agent; to enable, configure ${keys} to true` }
  }

  #expectNotReserved(id: ServiceId): void {
    if (this.#reserved !== id) return
    throw new BadRequest(`service id "${id}" is that of this server itself; choose another ID`)
  }

  /**
   * A pause of the whole process is not a silence of those who report to it. Whatever comes first after it notices, so
   * that what is reported then is not moved by the pause as well.
   */
  #noticeStall(now: Millis): void {
    const gap = now - this.#lastLook
    if (gap > 1000) this.#checks.stall(gap)
    this.#lastLook = now
  }

  #expire(id: ServiceId): void {
    this.#io.log('info', 'agent', `deregistering service '${id}': a check of it has been critical for too long`)
    this.deregisterService(id).catch((error: Error) => {
      this.#io.log('warn', 'agent', `could not deregister service '${id}': ${error.message}`)
    })
  }

  #report(): void {
    const changed = this.#checks.changes().length > 0 || this.#registered
    this.#registered = false
    this.#aliases.look(this.#io.clock.now(), changed)
    // An alias may stand for another.
    let aliased = false
    for (let links = 0; links < aliasLinksMax && this.#checks.changes().length > 0; links++) {
      aliased = true
      this.#aliases.look(this.#io.clock.now(), true)
    }
    if (changed || aliased) this.#onChange()
  }

  #inTurn(act: () => Promise<void>): Promise<void> {
    const mine = this.#turn.then(act).finally(() => {
      this.#registered = true
      this.#onChange()
    })
    this.#turn = mine.catch(() => undefined)
    return mine
  }

  async #keepCheck(check: CheckDefinition): Promise<void> {
    await this.#keep('checks', this.#kept, check.id, check)
    this.#begin(check)
  }

  #begin(check: CheckDefinition): void {
    // Registered again, a check goes on with what it knows, as in Consul: a service must not vanish over a new interval.
    const known = this.#checks.get(check.id)
    const now = this.#io.clock.now()
    this.#noticeStall(now)
    this.#checks.set(check, now, known ?? this.#saidOf(check))
  }

  async #forgetCheck(id: CheckId): Promise<void> {
    await this.#forget('checks', this.#kept, id)
    this.#checks.remove(id)
    this.#said.forget(id)
  }

  async #keep<T>(folder: string, kept: Map<string, Kept<T>>, id: string, definition: T): Promise<void> {
    const before = kept.get(id)
    const key = `${folder} ${id}`
    const known = before?.file !== undefined && !this.#doubtful.has(key)
    if (known && JSON.stringify(before.definition) === JSON.stringify(definition)) return
    const file = before?.file ?? this.#doubtful.get(key) ?? this.#nextFile++
    this.#doubtful.set(key, file)
    await saveJson(this.#io.disk, `${folder}/${file}.json`, definition)
    this.#doubtful.delete(key)
    kept.set(id, { file, definition })
  }

  async #forget<T>(folder: string, kept: Map<string, Kept<T>>, id: string): Promise<void> {
    const key = `${folder} ${id}`
    const file = kept.get(id)?.file ?? this.#doubtful.get(key)
    if (file === undefined) {
      kept.delete(id)
      return
    }
    this.#doubtful.set(key, file)
    await this.#io.disk.remove(`${folder}/${file}.json`)
    await this.#io.disk.syncFolder(folder)
    this.#doubtful.delete(key)
    kept.delete(id)
  }

  async #load<T>(folder: string, fits: (value: unknown) => value is T): Promise<{ file: number; definition: T }[]> {
    const loaded: { file: number; definition: T }[] = []
    for (const name of await this.#io.disk.list(folder)) {
      const number = /^(\d+)\.json$/.exec(name)?.[1]
      if (number === undefined) continue
      const file = Number(number)
      this.#nextFile = Math.max(this.#nextFile, file + 1)
      const definition = await loadJson(this.#io.disk, `${folder}/${name}`)
      if (!fits(definition)) {
        throw new Corrupt(`${folder}/${name} in the data directory holds no registration; restore or remove it`)
      }
      loaded.push({ file, definition })
    }
    return loaded.sort((a, b) => a.file - b.file)
  }
}

function expectFree(id: CheckId): void {
  if (id === serfHealthId) throw new BadRequest(`check id "${id}" is that of the cluster's own check; choose another`)
}

function takenCheck(id: CheckId, serviceId: ServiceId): BadRequest {
  const owner = serviceId === '' ? 'the node' : `service "${serviceId}"`
  return new BadRequest(`check id "${id}" is already used by ${owner}; choose another CheckID`)
}
