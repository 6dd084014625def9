/** A conversation with Consul 1.8.7 that was recorded, held with one of ours: its ids stand for ours. */
import assert from 'node:assert/strict'
import type { SingleNode } from './surface.ts'

export interface Recording {
  id: string
  request: { method: string; path: string; body?: string }
  response: { status: number; headers: Record<string, string>; text: string }
}

/** Ids were chosen by Consul; a list is in their order. */
export class Names {
  readonly #ours = new Map<string, string>()

  learn(theirs: string, ours: string): void {
    this.#ours.set(theirs, ours)
  }

  ours(text: string): string {
    return [...this.#ours].reduce((done, [theirs, ours]) => done.replaceAll(theirs, ours), text)
  }

  theirs(text: string): string {
    return [...this.#ours].reduce((done, [theirs, ours]) => done.replaceAll(ours, theirs), text)
  }
}

function masked(text: string): string {
  return text.replace(/"(Create|Modify)Index":\d+/g, '"$1Index":#')
}

/** Field order counts: rows are compared as texts. */
function rows(text: string): string[] {
  const value: unknown = JSON.parse(text)
  return Array.isArray(value) ? value.map((row) => masked(JSON.stringify(row))).sort() : [masked(text)]
}

/** Asks what was asked of Consul, and expects what it said; of the headers the named ones. */
export async function compare(
  single: SingleNode,
  names: Names,
  { request, response }: Recording,
  compared: readonly string[],
): Promise<void> {
  const answer = await single.ask(request.method, names.ours(request.path), request.body && names.ours(request.body))
  assert.equal(answer.status, response.status, answer.text)
  for (const name of compared) assert.equal(answer.headers.get(name) ?? undefined, response.headers[name], name)
  assert.equal(answer.headers.has('X-Consul-Index'), 'X-Consul-Index' in response.headers)
  const created = /^\{"ID":"([^"]+)"\}$/
  const ours = created.exec(answer.text)?.[1]
  const theirs = created.exec(response.text)?.[1]
  if (ours !== undefined && theirs !== undefined) names.learn(theirs, ours)
  const text = names.theirs(answer.text)
  if (response.headers['Content-Type'] !== 'application/json') assert.equal(text, response.text)
  else assert.deepEqual(rows(text), rows(response.text))
}
