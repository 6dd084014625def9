/**
 * Keys of gossip, listed and changed at random on a real Consul and on ours side by side: every answer is the same, word
 * for word. `CALLS=5000 SEED=7` makes it longer, or another one.
 */
import assert from 'node:assert/strict'
import { Random } from '../../src/io/random.ts'
import { SingleNode } from '../api/surface.ts'
import { consulBinary, PeerConsul } from './consul.ts'

const calls = Number(process.env.CALLS ?? 400)
const seed = Number(process.env.SEED ?? 1)
const path = '/v1/operator/keyring'
const [first, ...others] = [32, 32, 24, 16, 16].map((length, at) => Buffer.alloc(length, at).toString('base64')) as [
  string,
  ...string[],
]
/** The last characters of a text carry bits that mean nothing; line ends are skipped. */
const spellings = [`${'AwMD'.repeat(5)}Aw==`, `${'AwMD'.repeat(5)}Ax==`, `${'AwMD'.repeat(3)}\n${'AwMD'.repeat(2)}Aw==`]
const wrong = ['', 'abc', 'AAAA', 'AAAA=', 'AA=', 'AA=A', 'AA==AAAA', 'A', 'AAAAA', '-_-_', 'ü', '=', '====', 'AA==\n']
const queries = ['', '', '', '', '?relay-factor=2', '?relay-factor=6', '?relay-factor=-1', '?relay-factor=1.5']
queries.push('?local-only=true', '?local-only=0', '?local-only', '?local-only=yes', '?dc=nowhere')
const bodies = ['', '{}', '{', 'null', '[]', '{"Key":1}', '{"key":null}', '7']

describe('beside a real Consul that encrypts gossip', function () {
  this.timeout(60_000 + calls * 20)
  let peer: PeerConsul | undefined
  const ours = new SingleNode({ key: first })

  before(async function () {
    const binary = consulBinary()
    if (binary === undefined) {
      console.log('      skipped: scripts/peer-consul.sh brings the Consul to compare with')
      return this.skip()
    }
    peer = await PeerConsul.start(binary, ours.node.name, [`-encrypt=${first}`])
  })
  after(() => peer?.stop())

  it(`keys answer the same, ${calls} times`, async () => {
    const random = new Random(seed)
    const story: string[] = []
    const done = new Map<string, number>()
    for (let count = 0; count < calls; count++) {
      const method = random.pick(['GET', 'POST', 'PUT', 'DELETE', 'POST', 'PUT', 'DELETE']) as string
      const keys = random.chance(0.8) ? [first, ...others, ...spellings] : wrong
      const body = random.chance(0.95) ? JSON.stringify({ Key: random.pick(keys) }) : random.pick(bodies)
      const target = path + random.pick(queries)
      const sent = method === 'GET' ? undefined : body
      const [theirs, own] = await Promise.all([peer!.ask(method, target, sent), ours.ask(method, target, sent)])
      story.push(`${method} ${target} ${sent ?? ''} => ${theirs.status} ${theirs.text}`)
      const type = 'Content-Type'
      assert.deepEqual(
        { status: own.status, type: own.headers.get(type), text: own.text },
        { status: theirs.status, type: theirs.headers.get(type), text: theirs.text },
        [`seed ${seed}, call ${story.length}:`, ...story.slice(-10)].join('\n'),
      )
      const what = `${method} ${theirs.status}`
      done.set(what, (done.get(what) ?? 0) + 1)
    }
    // Calls that are all refused are alike, too.
    for (const what of ['GET 200', 'POST 200', 'PUT 200', 'DELETE 200', 'PUT 500', 'DELETE 500']) {
      assert.ok((done.get(what) ?? 0) > calls / 50, `${what}: ${[...done]}`)
    }
  })
})
