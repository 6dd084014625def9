/** User events over HTTP, compared with what Consul 1.8.7 was recorded to answer, and what was measured at it. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { tooLongFor } from '../../src/agent/event-size.ts'
import type { UserEvent } from '../../src/model.ts'
import { SingleNode, settle } from './surface.ts'

interface Recording {
  id: string
  request: { method: string; path: string; body?: string | { $repeat: string; n: number } }
  response: { status: number; headers: Record<string, string>; text?: string; json?: unknown }
}

const recordings: Recording[] = JSON.parse(
  readFileSync(new URL('../data/golden-http/events.json', import.meta.url), 'utf8'),
)

const bodyOf = ({ body }: Recording['request']) => (typeof body === 'object' ? body.$repeat.repeat(body.n) : body)

/** Ids are random; Consul's first time went to an event of its own about its leader. */
const masked = (text: string) =>
  text.replace(/"ID":"[0-9a-f-]{36}"/g, '"ID":"#"').replace(/"LTime":[1-9]\d*/g, '"LTime":#')

const services = [
  { Name: 'g-redis', ID: 'g-redis1', Tags: ['primary', 'v1'] },
  { Name: 'web', ID: 'web-id-1', Tags: ['v1', 'blue'], Port: 80 },
]

async function nodeWithServices(): Promise<SingleNode> {
  const node = new SingleNode()
  for (const service of services) await node.ask('PUT', '/v1/agent/service/register', JSON.stringify(service))
  return node
}

const names = async (node: SingleNode, query = '') =>
  ((await node.ask('GET', `/v1/event/list${query}`)).json() as { Name: string }[]).map(({ Name }) => Name)

function poll(node: SingleNode, path: string) {
  const state = { done: false }
  const answer = node.ask('GET', path).finally(() => {
    state.done = true
  })
  return { state, answer }
}

const indexOf = ({ headers }: { headers: { get(name: string): string | null } }) => headers.get('X-Consul-Index') ?? ''

describe('user events, recorded from Consul 1.8.7', () => {
  let node: SingleNode
  before(async () => {
    node = await nodeWithServices()
  })
  for (const { id, request, response } of recordings) {
    it(`${id}: ${request.method} ${request.path}`, async () => {
      const answer = await node.ask(request.method, request.path, bodyOf(request))
      assert.equal(answer.status, response.status, answer.text)
      for (const name of ['Content-Type', 'Allow']) {
        assert.equal(answer.headers.get(name) ?? '', response.headers[name] ?? '', name)
      }
      assert.equal(answer.headers.has('X-Consul-Index'), response.headers['X-Consul-Index'] !== undefined)
      assert.equal(answer.headers.has('X-Consul-Knownleader'), false)
      const expected = response.json === undefined ? response.text : JSON.stringify(response.json)
      assert.equal(masked(answer.text), masked(expected ?? ''))
    })
  }

  it('the index is made of the id of the last event', async () => {
    const answer = await node.ask('GET', '/v1/event/list')
    const { ID } = (answer.json() as { ID: string }[]).at(-1) as { ID: string }
    const digits = ID.replaceAll('-', '')
    const expected = BigInt(`0x${digits.slice(0, 16)}`) ^ BigInt(`0x${digits.slice(16)}`)
    assert.equal(indexOf(answer), String(expected))
  })
})

describe('the index of user events', () => {
  it('is the one Consul shows for the same events', async () => {
    const { indexOf } = await import('../../src/http/events.ts')
    const known = { id: '5bd1b985-e007-24b8-ab9b-baa9863c2efa' } as UserEvent
    assert.equal(indexOf([known]), 17314655206607882818n)
    assert.equal(indexOf([{ id: '56ff88fb-ffaa-6a0b-24f9-4fbf2a23544c' } as UserEvent]), 8216473668638293575n)
    assert.equal(indexOf([]), 1n)
    assert.equal(indexOf([{ id: 'of another release' } as UserEvent]), 1n)
  })
})

describe('filters of user events', () => {
  const table: [query: string, concerns: boolean][] = [
    ['', true],
    ['?node=golden', true],
    ['?node=^gol', true],
    ['?node=(?i)GOLD', true],
    ['?node=zzz', false],
    ['?service=^web-id', true],
    // Consul looks at ids alone.
    ['?service=^web$', true],
    ['?service=nope', false],
    ['?service=web%26tag=blue', false],
    ['?service=web&tag=blue', true],
    ['?service=web&tag=red', false],
    ['?service=web&tag=primary', false],
    ['?service=.*&tag=^prim', true],
    ['?node=golden&service=nope', false],
    ['?node=zzz&service=web', false],
  ]
  for (const [query, concerns] of table) {
    it(`${query === '' ? 'none' : query}: ${concerns ? 'for us' : 'not for us'}`, async () => {
      const node = await nodeWithServices()
      assert.equal((await node.ask('PUT', `/v1/event/fire/e${query}`, 'p')).status, 200)
      assert.deepEqual(await names(node), concerns ? ['e'] : [])
    })
  }

  const refused: [query: string, text: string][] = [
    ['?service=(', 'Invalid service filter: error parsing regexp: missing closing ): `(`'],
    ['?service=a&tag=(', 'Invalid tag filter: error parsing regexp: missing closing ): `(`'],
    ['?node=(?=a)', 'Invalid node filter: error parsing regexp: invalid or unsupported Perl syntax: `(?=`'],
  ]
  for (const [query, text] of refused) {
    it(`${query}: refused`, async () => {
      const answer = await new SingleNode().ask('PUT', `/v1/event/fire/e${query}`, 'p')
      assert.deepEqual([answer.status, answer.text], [500, text])
    })
  }

  it('made to keep agents busy do not: what takes too long is no event of ours', async () => {
    const node = new SingleNode()
    for (let n = 0; n < 300; n++) {
      const service = { Name: `${'a'.repeat(60)}${n}`, Tags: ['a'.repeat(200)] }
      await node.ask('PUT', '/v1/agent/service/register', JSON.stringify(service))
    }
    const answer = await node.ask('PUT', '/v1/event/fire/busy?service=(a?b?c?d?){200}!', 'x')
    assert.equal(answer.status, 200)
    assert.deepEqual(await names(node), [])
    assert.ok(node.logged.some(({ level, message }) => level === 'warn' && /too many steps/.test(message)))
  })

  it('that came by gossip and cannot be told are no event of ours, and said in the log', () => {
    const node = new SingleNode()
    const event = { id: 'x', name: 'e', payload: new Uint8Array(0), serviceFilter: '', tagFilter: '', ltime: 7 }
    node.events.receive({ ...event, nodeFilter: '(' })
    node.events.receive({ ...event, nodeFilter: '', tagFilter: 'a' })
    assert.deepEqual(node.events.list, [])
    assert.equal(node.logged.filter(({ level }) => level === 'warn').length, 2)
  })
})

describe('user events of one agent', () => {
  it('without a payload have null', async () => {
    const node = new SingleNode()
    assert.match((await node.ask('PUT', '/v1/event/fire/empty')).text, /"Payload":null/)
  })

  it('of any bytes come back as they were', async () => {
    const node = new SingleNode()
    const bytes = Uint8Array.from({ length: 256 }, (_, byte) => byte)
    await node.ask('PUT', '/v1/event/fire/bytes', bytes)
    const [event] = (await node.ask('GET', '/v1/event/list')).json() as { Payload: string }[]
    assert.equal(event?.Payload, Buffer.from(bytes).toString('base64'))
  })

  it('are the last 256, oldest first, in the order of their times', async () => {
    const node = new SingleNode()
    for (let n = 1; n <= 260; n++) await node.ask('PUT', `/v1/event/fire/r${n}`, 'x')
    const events = (await node.ask('GET', '/v1/event/list')).json() as { Name: string; LTime: number }[]
    assert.equal(events.length, 256)
    assert.deepEqual([events[0]?.Name, events[0]?.LTime, events.at(-1)?.LTime], ['r5', 5, 260])
  })

  it('do not show those of remote execution, as Consul does not', async () => {
    const node = new SingleNode()
    assert.equal((await node.ask('PUT', '/v1/event/fire/_rexec', 'x')).status, 200)
    assert.deepEqual(await names(node), [])
  })

  it('need no leader', async () => {
    const node = new SingleNode({ leading: false })
    assert.equal((await node.ask('PUT', '/v1/event/fire/e', 'x')).status, 200)
    assert.deepEqual(await names(node), ['e'])
  })

  it('with control characters in the name are refused', async () => {
    const answer = await new SingleNode().ask('PUT', '/v1/event/fire/a%0Ab', 'x')
    assert.equal(answer.status, 400)
  })
})

describe('whoever waits for user events', () => {
  it('is woken by the next one, and by none that it does not ask for', async () => {
    const node = new SingleNode()
    await node.ask('PUT', '/v1/event/fire/a', 'x')
    const all = indexOf(await node.ask('GET', '/v1/event/list'))
    const named = indexOf(await node.ask('GET', '/v1/event/list?name=a'))
    const any = poll(node, `/v1/event/list?index=${all}&wait=10s`)
    const only = poll(node, `/v1/event/list?name=a&index=${named}&wait=10s`)
    await settle()
    assert.deepEqual([any.state.done, only.state.done], [false, false])
    await node.ask('PUT', '/v1/event/fire/b', 'x')
    await settle()
    assert.deepEqual([any.state.done, only.state.done], [true, false])
    assert.equal(((await any.answer).json() as unknown[]).length, 2)
    await node.ask('PUT', '/v1/event/fire/a', 'y')
    await settle()
    assert.equal(only.state.done, true)
    assert.notEqual(indexOf(await only.answer), named)
  })

  it('is answered at once with any other index, and with none', async () => {
    const node = new SingleNode()
    await node.ask('PUT', '/v1/event/fire/a', 'x')
    for (const index of ['7', '0', '18446744073709551615']) {
      assert.equal((await node.ask('GET', `/v1/event/list?index=${index}&wait=10s`)).status, 200)
    }
  })

  it('waits for the first one with index 1', async () => {
    const node = new SingleNode()
    const first = poll(node, '/v1/event/list?index=1&wait=10s')
    await settle()
    assert.equal(first.state.done, false)
    await node.ask('PUT', '/v1/event/fire/a', 'x')
    await settle()
    assert.equal(first.state.done, true)
  })

  it('gets what there is when the time is over', async () => {
    const node = new SingleNode()
    const waiting = poll(node, '/v1/event/list?index=1&wait=10s')
    await node.advance(9_000)
    assert.equal(waiting.state.done, false)
    await node.advance(2_000)
    assert.deepEqual([waiting.state.done, (await waiting.answer).text], [true, '[]'])
  })

  it('is sent away when the agent stops', async () => {
    const node = new SingleNode()
    const waiting = poll(node, '/v1/event/list?index=1&wait=10s')
    await settle()
    node.events.stop()
    assert.equal((await waiting.answer).status, 503)
    assert.equal((await node.ask('PUT', '/v1/event/fire/a', 'x')).status, 503)
  })
})

describe('the size of user events, measured at Consul 1.8.7', () => {
  /** The shortest payload that was refused after and before encoding; times were up to 255 in the first row, then above. */
  const table: [name: number, filters: Partial<UserEvent>, ltime: number, after: number, before: number][] = [
    [1, {}, 200, 414, 445],
    [1, { nodeFilter: 'abc' }, 300, 406, 438],
    [1, { serviceFilter: 'xy', tagFilter: 'abcd' }, 400, 399, 431],
    [50, {}, 500, 312, 346],
    [50, { nodeFilter: 'abc' }, 500, 305, 339],
    [50, { serviceFilter: 'xy', tagFilter: 'abcd' }, 500, 298, 332],
    [18, {}, 600, 379, 411],
    [18, { nodeFilter: 'abc' }, 600, 372, 404],
    [18, { serviceFilter: 'xy', tagFilter: 'abcd' }, 600, 365, 397],
    [19, {}, 600, 375, 409],
    [19, { nodeFilter: 'abc' }, 600, 368, 402],
    [19, { serviceFilter: 'xy', tagFilter: 'abcd' }, 600, 361, 395],
  ]
  for (const [name, filters, ltime, after, before] of table) {
    it(`a name of ${name} and ${JSON.stringify(filters)}: ${after} and ${before} bytes are too long`, () => {
      const reason = (payload: number) =>
        tooLongFor({
          id: '41bbe84e-bbd3-7b2d-05d6-712791145b94',
          name: 'a'.repeat(name),
          payload: new Uint8Array(payload),
          nodeFilter: '',
          serviceFilter: '',
          tagFilter: '',
          ltime,
          ...filters,
        }) ?? 'none'
      assert.equal(reason(after - 1), 'none')
      assert.match(reason(after), /^encoded user event .* after encoding$/)
      assert.match(reason(before - 1), /after encoding$/)
      assert.match(reason(before), /^user event .* before encoding$/)
    })
  }
})
