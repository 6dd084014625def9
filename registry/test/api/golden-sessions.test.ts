/** What Consul 1.8.7 was recorded to answer about sessions and locks, asked of ours in the same order. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { check, node as nodeDefinition } from '../store/samples.ts'
import { SingleNode } from './surface.ts'

interface Recording {
  id: string
  request: { method: string; path: string; body?: string }
  response: { status: number; headers: Record<string, string>; text: string }
}

const recordings = JSON.parse(
  readFileSync(new URL('../data/golden-http/sessions.json', import.meta.url), 'utf8'),
) as Recording[]

const compared = ['Content-Type', 'Allow', 'X-Consul-Knownleader', 'X-Consul-Lastcontact']

/** Ids of sessions were chosen by Consul; a list is in their order. */
class Names {
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

describe('sessions and locks, recorded from Consul 1.8.7', () => {
  const node = new SingleNode()
  const names = new Names()
  node.apply({
    type: 'catalog.register',
    node: nodeDefinition('g-n2'),
    checks: [check('node check'), check('svc', { status: 'critical' })],
  })
  for (const { id, request, response } of recordings) {
    it(`${id}: ${request.method} ${request.path}`, async () => {
      // Recorded after the delay was over.
      if (id === '428-lock-after-delay') node.apply({ type: 'locks.undelay', marks: node.store.lockDelays() })
      const answer = await node.ask(request.method, names.ours(request.path), request.body && names.ours(request.body))
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
    })
  }
})
