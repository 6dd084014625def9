/** `FUZZ=n` sends so many connections' worth of requests; `SEED` begins elsewhere. */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { env, memoryUsage } from 'node:process'
import { gunzipSync } from 'node:zlib'
import { type Listening, serve } from '../../src/http/server.ts'
import { Random } from '../../src/io/random.ts'
import { HttpSoup, replies, type Soup } from './http-soup.ts'
import { SingleNode } from './surface.ts'

const connections = Number(env.FUZZ ?? 600)
const atOnce = 20
/** So that what was stored does not decide how fast the rest is. */
const eachNode = 20_000

/** What Consul 1.8 answers 500 to as well: its endpoints' own refusals. */
const refusals: readonly RegExp[] = [
  /^(Failed to create boolean expression evaluator: )?(\d+:\d+ \(\d+\): |Selector |rule )/,
  /^Failed to create boolean expression evaluator: /,
  /^No path to datacenter$/,
  /^(CheckID|ServiceID) missing$/,
  /^CheckID ".*" does not have associated TTL$/s,
  /^ServiceID ".*" does not exist$/s,
  /^agent: No node found with name '.*'$/s,
  /^Bad request: Missing service(ID| Name)$/,
  /index error: (UUID must be 36 characters|.*uuid)/,
  /^strconv\.ParseUint: /,
  /^(address|id) ".*" was not found in the Raft configuration$/s,
  /^\d+ errors? occurred:\n\t\* /,
  /^Cannot provide tag filter without service filter$/,
  /^Connect must be enabled in order to use this endpoint$/,
  /^Network segments are not supported in this version of Consul$/,
  /^Invalid (prepared query|Query Template|NearestN|Behavior setting|Session TTL|DNS TTL)/,
  /^(Must provide |Must be bound |Bad |[Mm]issing |Session |Check |failed |Prepared )/,
  /^Scripts are disabled on this agent from remote calls/,
  /^(error in regexp|error parsing regexp|invalid )/i,
  /^incompatible coordinate$/,
]

describe('HTTP over sockets', () => {
  it('whatever is sent, answers are whole, none is an accident, and nothing hangs', async () => {
    const random = new Random(Number(env.SEED ?? 1))
    const statuses = new Map<number, number>()
    const accidents = new Map<string, string>()
    let requests = 0
    for (let done = 0; done < connections; ) {
      const node = new SingleNode()
      const listening = await serve(node.app, { host: '127.0.0.1', port: 0, direct: node.direct })
      const soup = new HttpSoup(random, node)
      try {
        for (const until = Math.min(connections, done + eachNode); done < until; done += atOnce) {
          await Promise.all(
            Array.from({ length: atOnce }, async () => {
              const sent = soup.next()
              requests += sent.heads.length
              const answers = await answersTo(listening, sent, random.chance(0.3))
              for (const { status, headers, body } of answers) {
                statuses.set(status, (statuses.get(status) ?? 0) + 1)
                if (headers['content-encoding'] === 'gzip') assert.ok(gunzipSync(body).length >= 1400)
                const text = body.toString()
                if (status === 500 && !refusals.some((refusal) => refusal.test(text)))
                  accidents.set(text.slice(0, 100), sent.bytes.toString('latin1').slice(0, 400))
              }
            }),
          )
          assert.deepEqual(
            node.logged.filter(({ level }) => level === 'error'),
            [],
          )
        }
        assert.equal(node.parked, 0)
      } finally {
        await listening.close()
      }
      if (connections > 100_000)
        console.log(`      ${done} connections, ${Math.round(memoryUsage.rss() / 2 ** 20)} MiB`)
    }
    if (env.FUZZ !== undefined) console.log(`      ${requests} requests:`, Object.fromEntries([...statuses].sort()))
    assert.deepEqual([...accidents], [])
    // It was no soup that only a parser sees.
    for (const status of [200, 400, 404, 405, 500]) assert.ok(statuses.has(status), `no ${status}`)
  })
})

/** All answers, once the connection has ended. @throws Error when it does not, or when they are not whole */
function answersTo({ host, port }: Listening, sent: Soup, endsEarly: boolean): Promise<ReturnType<typeof replies>> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, allowHalfOpen: true })
    const chunks: Buffer[] = []
    let failed = false
    const hung = setTimeout(() => {
      reject(new Error(`no end to ${JSON.stringify(sent.bytes.toString('latin1').slice(0, 2000))}`))
      socket.destroy()
    }, 15_000)
    socket.on('data', (chunk) => chunks.push(chunk))
    socket.on('error', () => {
      failed = true
    })
    socket.on('end', () => socket.end())
    socket.on('close', () => {
      clearTimeout(hung)
      try {
        const found = replies(Buffer.concat(chunks), sent.heads)
        // Who sends on after a refusal may lose what was said.
        if (sent.sound && !failed) assert.ok(found.length > 0, 'no answer')
        assert.ok(!sent.sound || found.length <= sent.heads.length, 'more answers than requests')
        resolve(found)
      } catch (error) {
        if (failed) resolve([])
        else reject(new Error(`${error} to ${JSON.stringify(sent.bytes.toString('latin1').slice(0, 2000))}`))
      }
    })
    socket.write(sent.bytes)
    // What is cut off would be waited for.
    if (endsEarly || !sent.sound) socket.end()
  })
}
