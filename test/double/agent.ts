/**
 * An agent small enough to read, for tests of what talks to one: services, checks, KV with blocking queries, in the
 * shapes recorded from Consul 1.8.7. One node, no time: TTLs never expire and a blocking query waits for a change.
 */
import { Hono } from 'hono'
import type {
  AgentServiceShape,
  CatalogServiceShape,
  CheckRegistration,
  CheckShape,
  Fetch,
  ServiceRegistration,
} from 'registry/client'

export class AgentDouble {
  readonly app = new Hono()
  /** Every request that changes something, as `PUT /v1/agent/service/register`. */
  readonly writes: string[] = []
  readonly reads: string[] = []
  services: Record<string, AgentServiceShape> = {}
  checks: Record<string, CheckShape> = {}
  kv = new Map<string, { value: string; index: number }>()
  node = 'host1'
  address = '10.0.77.22'
  /** Answers 400 to a registration it holds for. */
  refuses: (service: ServiceRegistration) => boolean = () => false
  #index = 10
  #down = new AbortController()
  #wake = new Set<() => void>()

  constructor() {
    const { app } = this
    app.use(async (context, next) => {
      const line = `${context.req.method} ${decodeURIComponent(context.req.path)}`
      ;(context.req.method === 'GET' ? this.reads : this.writes).push(line)
      await next()
    })
    app.get('/v1/status/leader', (context) => context.json(`${this.address}:8300`))
    app.get('/v1/agent/self', (context) => context.json({ Member: { Name: this.node, Addr: this.address } }))
    app.get('/v1/agent/services', (context) => context.json(this.services))
    app.get('/v1/agent/checks', (context) => context.json(this.checks))
    app.put('/v1/agent/service/register', async (context) => {
      const service = await context.req.json<ServiceRegistration>()
      if (this.refuses(service)) return context.text('Invalid service', 400)
      this.#register(service, context.req.query('replace-existing-checks') !== undefined)
      return context.body('')
    })
    app.put('/v1/agent/service/deregister/:id', (context) => {
      this.#deregister(context.req.param('id'))
      return context.body('')
    })
    app.put('/v1/agent/check/pass/:id', (context) => {
      const check = this.checks[context.req.param('id')]
      if (check === undefined) {
        return context.text(`CheckID "${context.req.param('id')}" does not have associated TTL`, 500)
      }
      check.Status = 'passing'
      return context.body('')
    })
    app.get('/v1/catalog/service/:name', (context) => {
      context.header('X-Consul-Index', String(this.#index))
      return context.json(this.#instances(context.req.param('name')))
    })
    app.put('/v1/kv/:key', async (context) => {
      this.put(context.req.param('key'), await context.req.text())
      return context.json(true)
    })
    app.get('/v1/kv/:key', async (context) => {
      const asked = Number(context.req.query('index') ?? 0)
      if (asked > 0 && asked >= this.#index) await this.#changed(context.req.raw.signal)
      const pairs = [...this.kv].filter(([key]) => key.startsWith(context.req.param('key'))).sort()
      context.header('X-Consul-Index', String(this.#index))
      if (pairs.length === 0) return context.body('', 404)
      return context.json(
        pairs.map(([Key, { value, index }]) => ({
          LockIndex: 0,
          Key,
          Flags: 0,
          Value: btoa(String.fromCharCode(...new TextEncoder().encode(value))),
          CreateIndex: index,
          ModifyIndex: index,
        })),
      )
    })
  }

  /** For a client in this process. */
  readonly fetch: Fetch = (url, init) => {
    const signal = AbortSignal.any([this.#down.signal, ...(init.signal === undefined ? [] : [init.signal])])
    return new Promise((resolve, reject) => {
      if (signal.aborted) reject(signal.reason)
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
      if (!signal.aborted) Promise.resolve(this.app.request(url, init)).then(resolve, reject)
    })
  }

  /** Nobody listens: what is asked and what is waiting fails. */
  set down(down: boolean) {
    if (down) this.#down.abort(new TypeError('fetch failed', { cause: new Error('connect ECONNREFUSED') }))
    else this.#down = new AbortController()
  }

  put(key: string, value: string): void {
    this.#bump()
    this.kv.set(key, { value, index: this.#index })
  }

  remove(key: string): void {
    this.#bump()
    this.kv.delete(key)
  }

  /** Starts afresh, as an agent does whose disk is gone; connections break on the way. */
  forget(): void {
    this.down = true
    this.down = false
    this.services = {}
    this.checks = {}
    this.kv.clear()
    this.#index = 1
  }

  #register(service: ServiceRegistration, replaceChecks: boolean): void {
    const id = service.ID || service.Name
    this.services[id] = {
      ID: id,
      Service: service.Name,
      Tags: service.Tags ?? [],
      Meta: service.Meta ?? {},
      Port: service.Port ?? 0,
      Address: service.Address ?? '',
      Weights: { Passing: 1, Warning: 1 },
      EnableTagOverride: service.EnableTagOverride ?? false,
    }
    const checks = [...(service.Checks ?? []), ...(service.Check === undefined ? [] : [service.Check])]
    const ids = checks.map((check, at) => check.CheckID ?? `service:${id}${checks.length > 1 ? `:${at + 1}` : ''}`)
    if (replaceChecks) {
      for (const check of Object.values(this.checks)) {
        if (check.ServiceID === id && !ids.includes(check.CheckID)) delete this.checks[check.CheckID]
      }
    }
    for (const [at, check] of checks.entries()) this.#check(ids[at] as string, service, id, check)
    this.#bump()
  }

  #check(id: string, service: ServiceRegistration, serviceId: string, check: CheckRegistration): void {
    this.checks[id] = {
      Node: this.node,
      CheckID: id,
      Name: check.Name ?? `Service '${service.Name}' check`,
      Status: this.checks[id]?.Status ?? check.Status ?? 'critical',
      Notes: check.Notes ?? '',
      Output: '',
      ServiceID: serviceId,
      ServiceName: service.Name,
      Type: check.TTL !== undefined ? 'ttl' : check.HTTP !== undefined ? 'http' : 'tcp',
    }
  }

  #deregister(id: string): void {
    delete this.services[id]
    for (const check of Object.values(this.checks)) if (check.ServiceID === id) delete this.checks[check.CheckID]
    this.#bump()
  }

  #instances(name: string): CatalogServiceShape[] {
    return Object.values(this.services)
      .filter((service) => service.Service === name)
      .map((service) => ({
        ID: '',
        Node: this.node,
        Address: this.address,
        Datacenter: 'dc1',
        ServiceID: service.ID,
        ServiceName: service.Service,
        ServiceTags: service.Tags ?? [],
        ServiceAddress: service.Address,
        ServicePort: service.Port,
        ServiceMeta: service.Meta,
      }))
  }

  #bump(): void {
    this.#index++
    for (const wake of this.#wake) wake()
  }

  #changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.#wake.delete(wake)
        resolve()
      }
      this.#wake.add(wake)
      signal.addEventListener('abort', wake, { once: true })
    })
  }
}
