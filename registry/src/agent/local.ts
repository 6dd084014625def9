/**
 * Services and checks registered at this agent: ground state of this node, one file each in the data directory, so a
 * restart keeps them. Runs the probes that fall due. Does not write the catalog; `sync.ts` does, woken by `onChange`.
 */
import { BadRequest, Corrupt, NotFound } from '../errors.ts'
import { Checks } from '../health/checks.ts'
import type { CheckDefinition } from '../health/definition.ts'
import type { Io } from '../io/io.ts'
import type { CheckId, CheckResult, CheckStatus, Millis, ServiceDefinition, ServiceId } from '../model.ts'
import { serfHealthId } from '../model.ts'
import { loadJson, saveJson } from './files.ts'
import { SaidStatuses } from './said-statuses.ts'
import type { LocalCheck, LocalService, LocalSurface } from './surface.ts'

interface Kept<T> {
  /** Number of its file: ids are free text and file names are not. */
  file: number
  definition: T
}

/** How often services are looked for whose check has been critical for too long (Consul's reaper: 30 s). */
const expiryInterval: Millis = 30_000

export class Local implements LocalSurface {
  readonly #io: Io
  readonly #onChange: () => void
  readonly #reserved: ServiceId | undefined
  readonly #services = new Map<ServiceId, Kept<ServiceDefinition>>()
  readonly #kept = new Map<CheckId, Kept<CheckDefinition>>()
  readonly #checks: Checks
  readonly #said: SaidStatuses
  /**
   * Files whose last writing or removing failed, by folder and id. It may have happened all the same and would count at
   * the next start: until it succeeds, the disk is not believed to say what the maps say.
   */
  readonly #doubtful = new Map<string, number>()
  #nextFile = 1
  #nextExpiry: Millis
  #lastLook: Millis
  /** Writers wait for one another, so that the files say what the maps say. */
  #turn: Promise<unknown> = Promise.resolve()

  private constructor(io: Io, onChange: () => void, reserved: ServiceId | undefined, said: SaidStatuses) {
    this.#said = said
    this.#reserved = reserved
    this.#io = io
    this.#onChange = onChange
    this.#checks = new Checks(io.random)
    this.#lastLook = io.clock.now()
    this.#nextExpiry = this.#lastLook + expiryInterval
  }

  /**
   * Reads what was registered before.
   * @param reserved the service id that is the leader's to write on this node
   * @throws Corrupt
   */
  static async open(io: Io, onChange: () => void, reserved?: ServiceId): Promise<Local> {
    const local = new Local(io, onChange, reserved, await SaidStatuses.open(io))
    for (const { file, definition } of await local.#load('services', isService)) {
      local.#services.set(definition.id, { file, definition })
    }
    for (const { file, definition } of await local.#load('checks', isCheck)) {
      if (definition.serviceId !== '' && !local.#services.has(definition.serviceId)) {
        // The service went, and the process with it before its checks.
        await io.disk.remove(`checks/${file}.json`)
        continue
      }
      local.#kept.set(definition.id, { file, definition })
      local.#checks.set(definition, io.clock.now(), local.#saidOf(definition))
    }
    return local
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
      if (this.#reserved === service.id) {
        throw new BadRequest(`service id "${service.id}" is that of this server itself; choose another ID`)
      }
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
      void this.#io.probe(request).then((outcome) => {
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
    const changed = this.#checks.changes()
    if (changed.length > 0) this.#onChange()
  }

  #inTurn(act: () => Promise<void>): Promise<void> {
    const mine = this.#turn.then(act).finally(() => this.#onChange())
    this.#turn = mine.catch(() => undefined)
    return mine
  }

  async #keepCheck(check: CheckDefinition): Promise<void> {
    await this.#keep('checks', this.#kept, check.id, check)
    // Registered again, a check goes on with what it knows, as in Consul: a service must not vanish over a new interval.
    const known = this.#checks.get(check.id)
    const now = this.#io.clock.now()
    this.#noticeStall(now)
    this.#checks.set(check, now, known)
  }

  async #forgetCheck(id: CheckId): Promise<void> {
    await this.#forget('checks', this.#kept, id)
    this.#checks.remove(id)
    this.#said.forget(id)
  }

  async #keep<T>(folder: string, kept: Map<string, Kept<T>>, id: string, definition: T): Promise<void> {
    const before = kept.get(id)
    const key = `${folder} ${id}`
    const known = before !== undefined && !this.#doubtful.has(key)
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
    if (file === undefined) return
    this.#doubtful.set(key, file)
    await this.#io.disk.remove(`${folder}/${file}.json`)
    await this.#io.disk.syncFolder(folder)
    this.#doubtful.delete(key)
    kept.delete(id)
  }

  async #load<T>(folder: string, fits: (value: unknown) => value is T): Promise<Kept<T>[]> {
    const loaded: Kept<T>[] = []
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

type Fields = Record<string, unknown>
const isRecord = (value: unknown): value is Fields =>
  value !== null && typeof value === 'object' && !Array.isArray(value)

/** What everything else relies on; the rest of a registration is only handed on. */
function isService(value: unknown): value is ServiceDefinition {
  if (!isRecord(value) || !isRecord(value.weights)) return false
  const texts = [value.id, value.name, value.address, ...(Array.isArray(value.tags) ? value.tags : [undefined])]
  return texts.every((text) => typeof text === 'string') && Number.isSafeInteger(value.port) && value.id !== ''
}

function isCheck(value: unknown): value is CheckDefinition {
  if (!isRecord(value) || !isRecord(value.how) || value.id === '') return false
  const texts = [value.id, value.name, value.notes, value.serviceId, value.initialStatus, value.initialOutput]
  const { how } = value
  const life = { ttl: how.ttl, http: how.interval, tcp: how.interval, maintenance: 0 }[String(how.type)]
  return texts.every((text) => typeof text === 'string') && typeof life === 'number'
}

function expectFree(id: CheckId): void {
  if (id === serfHealthId) throw new BadRequest(`check id "${id}" is that of the cluster's own check; choose another`)
}

function takenCheck(id: CheckId, serviceId: ServiceId): BadRequest {
  const owner = serviceId === '' ? 'the node' : `service "${serviceId}"`
  return new BadRequest(`check id "${id}" is already used by ${owner}; choose another CheckID`)
}
