/** What Consul 1.8.7 was recorded to answer about sessions and locks, asked of ours in the same order. */
import { readFileSync } from 'node:fs'
import { check, node as nodeDefinition } from '../store/samples.ts'
import { compare, Names, type Recording } from './recorded.ts'
import { SingleNode } from './surface.ts'

const recordings = JSON.parse(
  readFileSync(new URL('../data/golden-http/sessions.json', import.meta.url), 'utf8'),
) as Recording[]

const compared = ['Content-Type', 'Allow', 'X-Consul-Knownleader', 'X-Consul-Lastcontact']

describe('sessions and locks, recorded from Consul 1.8.7', () => {
  const node = new SingleNode()
  const names = new Names()
  node.apply({
    type: 'catalog.register',
    node: nodeDefinition('g-n2'),
    checks: [check('node check'), check('svc', { status: 'critical' })],
  })
  for (const recording of recordings) {
    const { id, request } = recording
    it(`${id}: ${request.method} ${request.path}`, async () => {
      // Recorded after the delay was over.
      if (id === '428-lock-after-delay') node.apply({ type: 'locks.undelay', marks: node.store.lockDelays() })
      await compare(node, names, recording, compared)
    })
  }
})
