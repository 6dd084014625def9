/** Random calls about sessions, locks and keys, on few of each, so that they meet. */
import type { Random } from '../../src/io/random.ts'

export interface Made {
  method: string
  path: string
  body?: string
}

const keys = ['p/a', 'p/b', 'p/c/d', 'p/c/e']
const checks = ['c1', 'c2']
const node = 'elsewhere'

export class Calls {
  readonly #random: Random
  /** By number, those that are thought to be there. */
  readonly #alive: number[] = []
  readonly #over: number[] = []
  #count = 0

  constructor(random: Random) {
    this.#random = random
  }

  /** So that there is something to live by. */
  begin(): Made[] {
    return [this.#register('c1', 'passing'), this.#register('c2', 'passing')]
  }

  learn(made: Made, status: number, text: string, nameOf: (id: string) => number): void {
    if (made.path === '/v1/session/create' && status === 200) {
      this.#alive.push(nameOf((JSON.parse(text) as { ID: string }).ID))
      while (this.#alive.length > 6) this.#over.push(this.#alive.shift()!)
    }
  }

  next(): Made {
    const random = this.#random
    const choice = random.fraction()
    if (choice < 0.1) return this.#create()
    if (choice < 0.14) return { method: 'PUT', path: `/v1/session/destroy/${this.#session()}` }
    if (choice < 0.18) return { method: 'PUT', path: `/v1/session/renew/${this.#session()}` }
    if (choice < 0.22) return { method: 'GET', path: `/v1/session/info/${this.#session()}` }
    if (choice < 0.24) return { method: 'GET', path: '/v1/session/list' }
    if (choice < 0.26)
      return { method: 'GET', path: `/v1/session/node/${random.pick([node, 'golden', 'nowhere', 'ELSEWHERE'])}` }
    if (choice < 0.29) return this.#health()
    if (choice < 0.43) return { method: 'GET', path: `/v1/kv/${this.#key()}` }
    if (choice < 0.46)
      return {
        method: 'GET',
        path: `/v1/kv/p/${random.pick(['?recurse', '?keys', 'c/?recurse', '?keys&separator=/'])}`,
      }
    if (choice < 0.6) return this.#put(`?acquire=${this.#session()}`)
    if (choice < 0.68) return this.#put(`?release=${this.#session()}`)
    if (choice < 0.75) return this.#put(random.pick(['', '', '?flags=7', `?cas=${this.#index()}`, '?cas=0'])!)
    if (choice < 0.8)
      return { method: 'DELETE', path: `/v1/kv/${this.#key()}${random.pick(['', '', `?cas=${this.#index()}`])}` }
    if (choice < 0.82) return { method: 'DELETE', path: `/v1/kv/p/${random.pick(['c/', ''])}?recurse` }
    return this.#transaction()
  }

  #key(): string {
    return this.#random.pick(keys)!
  }

  /** Mostly one that is there. */
  #session(): string {
    const random = this.#random
    const numbers = random.chance(0.85) ? this.#alive : this.#over
    const number = random.pick(numbers)
    if (number !== undefined && random.chance(0.97)) return `<s${number}>`
    return random.pick(['11111111-2222-3333-4444-555555555555', 'abc', 'zzzzzzzz-zzzz-zzzz-zzzz-zzzzzzzzzzzz'])!
  }

  #index(): string {
    return `<i${this.#random.between(0, 10_000)}>`
  }

  #create(): Made {
    const random = this.#random
    const pick = <T>(...values: T[]): T => random.pick(values)!
    const elsewhere = random.chance(0.5)
    const body: Record<string, unknown> = {
      // No delay ends while the calls are made.
      LockDelay: pick<string | number>('0s', '0s', '0s', '60s', 60, '3m', -1),
      Name: `n${this.#count++}`,
    }
    if (elsewhere) body.Node = pick(node, node, node, 'Elsewhere', 'nowhere', '')
    if (elsewhere || random.chance(0.3)) {
      Object.assign(
        body,
        pick<object>({ Checks: [] }, { NodeChecks: [] }, { NodeChecks: ['c1'] }, { NodeChecks: ['c2', 'c1'] }, {}),
      )
    }
    if (elsewhere && random.chance(0.2))
      Object.assign(body, pick<object>({ Checks: ['c1'] }, { Checks: null }, { NodeChecks: null }))
    if (random.chance(0.2)) body.ServiceChecks = pick<unknown>([], null, [{ ID: 'c1' }], [{ ID: 'x' }])
    if (random.chance(0.4)) body.Behavior = pick('delete', 'delete', 'release', '', 'bad')
    if (random.chance(0.4)) body.TTL = pick('600s', '10m', '86400s', '', '0s', '9s', '86401s', 'bad', '-1s', '5000.0s')
    return { method: 'PUT', path: '/v1/session/create', body: JSON.stringify(body) }
  }

  #register(check: string, status: string): Made {
    const body = { Node: node, Address: '10.0.0.9', Check: { CheckID: check, Name: check, Status: status } }
    return { method: 'PUT', path: '/v1/catalog/register', body: JSON.stringify(body) }
  }

  /** A check turns, or goes, or its whole node does. */
  #health(): Made {
    const random = this.#random
    const check = random.pick(checks)!
    if (random.chance(0.7))
      return this.#register(check, random.pick(['passing', 'passing', 'passing', 'warning', 'critical'])!)
    const body = { Node: node, ...(random.chance(0.8) && { CheckID: check }) }
    return { method: 'PUT', path: '/v1/catalog/deregister', body: JSON.stringify(body) }
  }

  #put(query: string): Made {
    return { method: 'PUT', path: `/v1/kv/${this.#key()}${query}`, body: this.#random.pick(['', 'v', 'w'])! }
  }

  #transaction(): Made {
    const random = this.#random
    const operations = Array.from({ length: random.between(1, 4) }, () => {
      const Verb = random.pick([
        'lock',
        'lock',
        'unlock',
        'unlock',
        'check-session',
        'set',
        'cas',
        'get',
        'get-tree',
        'check-index',
        'check-not-exists',
        'delete',
        'delete-cas',
        'delete-tree',
      ])!
      const locks = ['lock', 'unlock', 'check-session'].includes(Verb)
      const indexed = ['cas', 'check-index', 'delete-cas'].includes(Verb)
      return {
        KV: {
          Verb,
          Key: Verb === 'delete-tree' || Verb === 'get-tree' ? 'p/c/' : this.#key(),
          Value: random.pick(['', 'dg==', 'dw==']),
          ...(locks && { Session: random.chance(0.9) ? this.#session() : '' }),
          ...(indexed && { Index: this.#index() }),
        },
      }
    })
    const body = JSON.stringify(operations).replaceAll(/"(<i\d+>)"/g, '$1')
    return { method: 'PUT', path: '/v1/txn', body }
  }
}
