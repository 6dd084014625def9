/** What two servers answer, compared: ids of sessions under common names, and indexes by their order. */

export interface Side {
  status: number
  headers: Headers
  text: string
}

const uuid = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g
/** Of requests: session number N, and the index that is known under number N. */
const sessionName = /<s(\d+)>/g
const indexName = /<i(\d+)>/g

export class Alike {
  /** By number: the id at the peer, and ours. */
  readonly #sessions: [theirs: string, ours: string][] = []
  /** Indexes that mean the same, in order of theirs. */
  readonly #indexes: [theirs: number, ours: number][] = []
  readonly #ofTheirs = new Map<number, number>()
  readonly #ofOurs = new Map<number, number>()

  /** A request in the words of one side. */
  theirs(text: string): string {
    return this.#worded(text, 0)
  }

  ours(text: string): string {
    return this.#worded(text, 1)
  }

  /** The common name of the peer's session. */
  nameOf(id: string): number {
    return this.#sessions.findIndex(([theirs]) => theirs === id)
  }

  /**
   * How two answers differ; undefined: in nothing. `prefix`: of an empty prefix the index is ours, for one tombstone
   * stands for a whole recursive deletion.
   */
  compare(theirs: Side, ours: Side, { prefix }: { prefix: boolean }): string | undefined {
    const what = `Consul answers ${theirs.status} ${theirs.text}, ours ${ours.status} ${ours.text}`
    if (theirs.status !== ours.status) return what
    const created = /^\{"ID":"([^"]+)"\}$/
    const [one, other] = [created.exec(theirs.text)?.[1], created.exec(ours.text)?.[1]]
    if (one !== undefined && other !== undefined) {
      this.#sessions.push([one, other])
      return undefined
    }
    for (const name of ['Content-Type', 'X-Consul-Knownleader']) {
      if (theirs.headers.get(name) !== ours.headers.get(name)) return `${what}, with another ${name}`
    }
    const index = prefix && theirs.status === 404 ? undefined : this.#same(indexOf(theirs), indexOf(ours))
    if (index !== undefined) return `${what}: of the answers, ${index}`
    if (!(theirs.headers.get('Content-Type') ?? '').startsWith('application/json')) {
      const texts = [this.#named(theirs.text, 0), this.#named(ours.text, 1)] as const
      return texts[0] === texts[1] ? undefined : what
    }
    const rows = [this.#rows(theirs.text, 0), this.#rows(ours.text, 1)] as const
    if (rows[0].length !== rows[1].length) return what
    for (const [at, row] of rows[0].entries()) {
      const mine = rows[1][at]!
      if (masked(row) !== masked(mine)) return `${what}: ${row} and ${mine}`
      const indexes = [indexesIn(row), indexesIn(mine)] as const
      for (const [place, each] of indexes[0].entries()) {
        const wrong = this.#same(each, indexes[1][place])
        if (wrong !== undefined) return `${what}: ${wrong}`
      }
    }
    return undefined
  }

  #worded(text: string, side: 0 | 1): string {
    return text
      .replace(sessionName, (_, number: string) => this.#sessions[Number(number)]?.[side] ?? 'unknown')
      .replace(indexName, (_, number: string) => {
        const known = this.#indexes[Number(number) % Math.max(1, this.#indexes.length)]
        return String(known?.[side] ?? 0)
      })
  }

  #named(text: string, side: 0 | 1): string {
    return text.replace(uuid, (id) => {
      const number = this.#sessions.findIndex((pair) => pair[side] === id)
      return number < 0 ? id : `<s${number}>`
    })
  }

  /** Lists of sessions are in the order of ids, which each side has its own of. */
  #rows(text: string, side: 0 | 1): string[] {
    const value: unknown = JSON.parse(this.#named(text, side))
    if (!Array.isArray(value)) return [JSON.stringify(value)]
    const rows = value.map((row) => JSON.stringify(row))
    return /^\{"ID":/.test(rows[0] ?? '') ? rows.sort((one, other) => numberOf(one) - numberOf(other)) : rows
  }

  /** Both are of the same moment, and in order with all that were seen before. */
  #same(theirs: number | undefined, ours: number | undefined): string | undefined {
    if (theirs === undefined || ours === undefined || theirs === 0 || ours === 0) {
      return theirs === ours ? undefined : `index ${theirs} is not ${ours}`
    }
    // What was there before the first call is each side's own.
    const known = this.#ofTheirs.get(theirs)
    if (known !== undefined) return known === ours ? undefined : `index ${theirs} was ${known} and is now ${ours}`
    const other = this.#ofOurs.get(ours)
    if (other !== undefined) return `index ${ours} was ${other} at the peer and is now ${theirs}`
    const [before] = this.#indexes.filter(([one]) => one < theirs).slice(-1)
    const after = this.#indexes.find(([one]) => one > theirs)
    if ((before !== undefined && before[1] > ours) || (after !== undefined && after[1] < ours)) {
      return `index ${theirs} is ${ours}, out of order`
    }
    this.#ofTheirs.set(theirs, ours)
    this.#ofOurs.set(ours, theirs)
    this.#indexes.push([theirs, ours])
    this.#indexes.sort(([one], [two]) => one - two)
    return undefined
  }
}

function indexOf({ headers }: Side): number | undefined {
  const index = headers.get('X-Consul-Index')
  return index === null ? undefined : Number(index)
}

const indexPattern = /"(?:Create|Modify)Index":(\d+)|current modify index (\d+)/g

function indexesIn(row: string): number[] {
  return [...row.matchAll(indexPattern)].map(([, field, words]) => Number(field ?? words))
}

function masked(row: string): string {
  return row.replace(indexPattern, (text) => text.replace(/\d+$/, '#')).replace(/(#|index \d+) != \d+/g, '$1 != #')
}

function numberOf(row: string): number {
  return Number(/<s(\d+)>/.exec(row)?.[1] ?? -1)
}
