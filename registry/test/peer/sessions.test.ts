/**
 * Sessions, locks, keys and transactions, in random calls to a real Consul and to ours side by side: every answer is the
 * same. Ids of sessions are each side's own, and so are indexes, of which the order is compared. `CALLS=10000 SEED=7`
 * makes it longer, or another one.
 */
import assert from 'node:assert/strict'
import { Random } from '../../src/io/random.ts'
import { SingleNode } from '../api/surface.ts'
import { Alike } from './alike.ts'
import { Calls, type Made } from './calls.ts'
import { consulBinary, PeerConsul } from './consul.ts'

const calls = Number(process.env.CALLS ?? 1000)
const seed = Number(process.env.SEED ?? 1)

describe('beside a real Consul', function () {
  this.timeout(60_000 + calls * 20)
  let peer: PeerConsul | undefined
  const ours = new SingleNode()

  before(async function () {
    const binary = consulBinary()
    if (binary === undefined) {
      console.log('      skipped: scripts/peer-consul.sh brings the Consul to compare with')
      return this.skip()
    }
    peer = await PeerConsul.start(binary, ours.node.name)
  })
  after(() => peer?.stop())

  it(`sessions, locks and keys answer the same, ${calls} times`, async () => {
    const random = new Random(seed)
    const alike = new Alike()
    const made = new Calls(random)
    const story: string[] = []
    const counts = new Map<string, number>()
    const compare = async ({ method, path, body }: Made) => {
      const [theirs, own] = await Promise.all([
        peer!.ask(method, alike.theirs(path), body === undefined ? undefined : alike.theirs(body)),
        ours.ask(method, alike.ours(path), body === undefined ? undefined : alike.ours(body)),
      ])
      story.push(`${method} ${path} ${body ?? ''} => ${theirs.status} ${theirs.text}`)
      const difference = alike.compare(theirs, own, { prefix: method === 'GET' && /\?(recurse|keys)/.test(path) })
      counts.set(`${method} ${theirs.status}`, (counts.get(`${method} ${theirs.status}`) ?? 0) + 1)
      if (difference !== undefined) {
        assert.fail([`seed ${seed}, call ${story.length}: ${difference}`, ...story.slice(-25)].join('\n'))
      }
      return theirs
    }
    for (const call of made.begin()) await compare(call)
    for (let count = 0; count < calls; count++) {
      const call = made.next()
      const answer = await compare(call)
      made.learn(call, answer.status, answer.text, (id) => alike.nameOf(id))
    }
    // Calls that are all refused are alike, too.
    const often = (what: string) => (counts.get(what) ?? 0) > calls / 20
    assert.ok(often('PUT 200') && often('PUT 500') && often('GET 200') && often('GET 404'), `${[...counts]}`)
  })
})
