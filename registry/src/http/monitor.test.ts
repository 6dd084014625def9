import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { until } from '../../../test/until.ts'
import { SingleNode } from '../../test/api/surface.ts'
import { logger } from '../cli/log.ts'
import type { LogEntry } from './endpoint.ts'
import { LineBuffer } from './monitor.ts'
import { serve } from './server.ts'

const entry = (message: string): LogEntry => ({ level: 'info', area: 'agent', message, fields: {}, at: 'now' })
const words = ({ level, message, fields }: LogEntry) => `${level} ${message} ${JSON.stringify(fields)}`
const text = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes)

/** An agent that logs warnings only, and what its monitor says. */
function agent() {
  const own: string[] = []
  const wall = () => Date.UTC(2026, 10, 25, 9, 3, 30, 5)
  const logs = logger({ level: 'warn', json: false, wall, write: (line) => own.push(line) })
  logs.open()
  const node = new SingleNode({ logs, log: logs.log })
  const listen = async (query = '') => {
    const response = await node.app.request(`/v1/agent/monitor${query}`)
    return { response, reader: (response.body as ReadableStream<Uint8Array>).getReader() }
  }
  return { own, logs, node, listen }
}

describe('the monitor', () => {
  it('shows what is logged from its level on, whatever the agent itself leaves out, in the words of Consul 1.8', async () => {
    const { own, logs, listen } = agent()
    logs.log('error', 'agent', 'before anybody listened')
    const { response, reader } = await listen('?loglevel=debug')
    assert.equal(response.status, 200)
    assert.equal(response.headers.get('Content-Length'), null)
    logs.log('trace', 'raft', 'too little')
    logs.log('debug', 'agent', 'Synced service', { service: 'web', reason: 'two words' })
    logs.log('info', 'serf', 'EventMemberJoin: host1 10.0.0.1')
    logs.log('warn', 'http', 'bad\n2026-11-25T09:03:30.005Z [ERROR] forged')
    logs.log('error', 'consul', 'x')
    const lines = [
      '2026-11-25T09:03:30.005Z [DEBUG] agent: Synced service: service=web reason="two words"',
      '2026-11-25T09:03:30.005Z [INFO]  serf: EventMemberJoin: host1 10.0.0.1',
      '2026-11-25T09:03:30.005Z [WARN]  http: bad | 2026-11-25T09:03:30.005Z [ERROR] forged',
      '2026-11-25T09:03:30.005Z [ERROR] consul: x',
    ]
    assert.equal(text((await reader.read()).value), `${lines.join('\n')}\n`)
    assert.equal(own.length, 3, 'the own log has its own level')
  })

  it('shows info and above unless told', async () => {
    const { logs, listen } = agent()
    const { reader } = await listen()
    logs.log('debug', 'agent', 'a')
    logs.log('info', 'agent', 'b')
    assert.match(text((await reader.read()).value), /^\S+ \[INFO\] {2}agent: b\n$/)
  })

  it('speaks JSON with ?logjson, whatever its value', async () => {
    for (const query of ['?logjson', '?logjson=false']) {
      const { logs, listen } = agent()
      const { reader } = await listen(query)
      logs.log('info', 'agent', 'joining', { b: 2, a: new Error('no') })
      assert.equal(
        text((await reader.read()).value),
        '{"@level":"info","@message":"joining","@module":"agent","@timestamp":"2026-11-25T09:03:30.005000Z","a":"no","b":2}\n',
      )
    }
  })

  for (const level of ['info', 'INFO', 'warn', 'err', 'error', 'ERR', 'trace', 'debug', '']) {
    it(`takes the level "${level}"`, async () => {
      const { response, reader } = await agent().listen(`?loglevel=${level}`)
      assert.equal(response.status, 200)
      await reader.cancel()
    })
  }

  for (const level of ['bogus', 'warning', 'critical', 'constructor']) {
    it(`refuses the level "${level}" in the words of Consul`, async () => {
      const { node } = agent()
      const { status, text } = await node.ask('GET', `/v1/agent/monitor?loglevel=${level}`)
      assert.deepEqual([status, text], [400, `Bad request: Unknown log level: ${level}`])
    })
  }

  it('takes GET alone', async () => {
    const { status, headers } = await agent().node.ask('PUT', '/v1/agent/monitor')
    assert.deepEqual([status, headers.get('Allow')], [405, 'OPTIONS,GET'])
  })

  it('ends when the agent does, after what it still had to say', async () => {
    const { logs, listen } = agent()
    const { reader } = await listen()
    logs.log('info', 'agent', 'Gracefully shutting down agent...')
    logs.end()
    assert.match(text((await reader.read()).value), /shutting down/)
    assert.equal((await reader.read()).done, true)
  })

  it('ends for a reader that waits', async () => {
    const { logs, listen } = agent()
    const { reader } = await listen()
    const waiting = reader.read()
    await turn()
    logs.end()
    assert.equal((await waiting).done, true)
  })

  it('costs nothing once its reader is gone', async () => {
    const { logs, listen } = agent()
    const { reader } = await listen('?loglevel=trace')
    await reader.cancel()
    let looked = 0
    const fields = {
      get x() {
        return ++looked
      },
    }
    logs.log('trace', 'agent', 'x', fields)
    assert.equal(looked, 0)
  })

  it('of a reader that is too slow keeps so much and no more, and says how many lines it lost', async () => {
    const { own, logs, listen } = agent()
    const { reader } = await listen()
    for (let n = 0; n < 10_000; n++) logs.log('info', 'agent', `line ${n}`)
    const first = text((await reader.read()).value).split('\n')
    assert.equal(first.length - 1, 513)
    assert.match(first[511] ?? '', /line 511$/)
    // Not with the next line: there may be none for a long time.
    assert.match(first[512] ?? '', /^\S+ \[WARN\] {2}agent: Dropped logs during monitor request: dropped_count=9488$/)
    logs.log('info', 'agent', 'after')
    assert.match(text((await reader.read()).value), /^\S+ \[INFO\] {2}agent: after\n$/)
    await reader.cancel()
    assert.match(own[0] ?? '', /\[WARN\] agent: Dropped logs during monitor request dropped_count=9488/)
  })
})

describe('the monitor over a socket', () => {
  it('of a client that does not read is bounded; what it reads later and what it lost is all there was', async () => {
    const { logs, node } = agent()
    const listening = await serve(node.app, { host: '127.0.0.1', port: 0, direct: node.direct })
    const socket = connect(listening.port, listening.host)
    try {
      socket.write('GET /v1/agent/monitor HTTP/1.1\r\nHost: x\r\n\r\n')
      let received = ''
      const headers = new Promise((resolve) => socket.once('data', resolve))
      await headers
      socket.pause()
      socket.on('data', (bytes) => {
        received += bytes.toString('latin1')
      })
      socket.pause()
      const total = 60_000
      const filling = 'x'.repeat(1_000)
      for (let n = 0; n < total; n++) {
        logs.log('info', 'agent', `${filling} line ${n};`)
        if (n % 100 === 0) await turn()
      }
      socket.resume()
      // Ends that did not fit are among the lost.
      let ends = 0
      const [, end] = await until('an end', () => {
        logs.log('info', 'agent', `end ${ends++};`)
        return /end (\d+);/.exec(received)
      })
      const told = received.slice(0, received.indexOf(`end ${end};`))
      const read = told.match(/line \d+;/g)?.length ?? 0
      const lost = [...told.matchAll(/dropped_count=(\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0)
      assert.ok(lost > 0, 'everything fitted into the buffers of the system')
      assert.equal(read + lost, total + Number(end))
    } finally {
      socket.destroy()
      await listening.close()
    }
  })

  it('is over for the agent when the client goes away', async () => {
    const { logs, node } = agent()
    let followers = 0
    const follow = logs.follow.bind(logs)
    logs.follow = (follower) => {
      const unfollow = follow(follower)
      followers++
      return () => {
        followers--
        unfollow()
      }
    }
    const listening = await serve(node.app, { host: '127.0.0.1', port: 0, direct: node.direct })
    try {
      const socket = connect(listening.port, listening.host)
      socket.write('GET /v1/agent/monitor HTTP/1.1\r\nHost: x\r\n\r\n')
      const head = await new Promise<Buffer>((resolve) => socket.once('data', resolve))
      assert.match(head.toString(), /^HTTP\/1\.1 200 OK\r\n(.*\r\n)*Transfer-Encoding: chunked\r\n/i)
      assert.equal(followers, 1)
      socket.destroy()
      await until('nobody to follow', () => followers === 0)
    } finally {
      await listening.close()
    }
  })
})

describe('lines that wait for a reader', () => {
  it('come all at once', async () => {
    const buffer = new LineBuffer(words)
    buffer.push(entry('a'))
    buffer.push(entry('b'))
    assert.equal(text(await buffer.take()), 'info a {}\ninfo b {}\n')
  })

  it('are bounded in bytes, too', async () => {
    const buffer = new LineBuffer(words)
    const long = 'x'.repeat(100_000)
    for (let n = 0; n < 5; n++) buffer.push(entry(long))
    assert.equal(buffer.dropped, 3)
    const taken = text(await buffer.take())
    assert.ok(taken.length < 256 * 1024)
    assert.match(taken, /x \{\}\nwarn Dropped logs during monitor request \{"dropped_count":3\}\n$/)
    const waiting = buffer.take()
    buffer.push(entry('y'.repeat(300 * 1024)))
    assert.equal(buffer.dropped, 4, 'one that never fits')
    assert.equal(text(await waiting), 'warn Dropped logs during monitor request {"dropped_count":1}\n')
    buffer.push(entry('y'.repeat(300 * 1024)))
    buffer.push(entry('short'))
    assert.equal(
      text(await buffer.take()),
      'warn Dropped logs during monitor request {"dropped_count":1}\ninfo short {}\n',
    )
  })
})
