/** Datacenters of several servers as real processes, and what is asked of them. */
import { createSocket } from 'node:dgram'
import { decode, encode } from 'dns-packet'
import { type Host, until } from './cluster.ts'

/** Starts the servers of one datacenter, with a key `color` that is its name and a service `web` on each. `wan`: a server to join there. */
export async function beginDatacenter(hosts: Host[], datacenter: string, wan: Host | undefined): Promise<void> {
  const [first] = hosts as [Host]
  for (const host of hosts) {
    const words = ['-server', '-bootstrap-expect=3', `-datacenter=${datacenter}`, `-retry-join=${first.address}`]
    host.words = [...words, '-retry-interval=1s', ...(wan === undefined ? [] : [`-retry-join-wan=${wan.address}`])]
    host.start()
  }
  await led(hosts)
  await until('a write', () => first.put('color', datacenter).then(() => true), 30_000)
  const service = { Name: 'web', Port: 80 }
  for (const host of hosts) await host.http('PUT', '/v1/agent/service/register', JSON.stringify(service))
}

/** Each of them knows a leader. */
export async function led(hosts: Host[]): Promise<void> {
  for (const host of hosts) await until(`a leader on ${host.name}`, async () => (await host.leader()) !== '', 30_000)
}

/** Every server of the first answers for the second, which is `dc2`, over HTTP and DNS. */
export async function connected(ours: Host[], theirs: Host[]): Promise<void> {
  for (const host of ours) {
    const questions = new Questions(host.address)
    await until(
      `dc2 as ${host.name} sees it`,
      async () => {
        const color = await host.get('color', '&dc=dc2')
        const found = await questions.ask('web.service.dc2.consul')
        return color === 'dc2' && theirs.every(({ address }) => found.includes(address))
      },
      60_000,
    )
    questions.close()
  }
}

/** One question at a time to one server. */
export class Questions {
  readonly #socket = createSocket('udp4')
  readonly #host: string
  #id = 0
  #waiting: { id: number; resolve(answer: string[]): void } | undefined

  constructor(host: string) {
    this.#host = host
    this.#socket.on('message', (bytes) => {
      const { id, answers, rcode } = decode(bytes) as ReturnType<typeof decode> & { rcode: string }
      const waiting = this.#waiting
      if (waiting === undefined || id !== waiting.id) return
      const found = (answers ?? []).flatMap((each) => (each.type === 'A' ? [each.data] : []))
      waiting.resolve(found.length > 0 ? found : [rcode])
    })
  }

  /** Addresses, or the code when there is none; empty: no answer within `timeout`. */
  async ask(name: string, timeout = 10_000): Promise<string[]> {
    const id = ++this.#id & 0xffff
    const timer = new AbortController()
    const answer = new Promise<string[]>((resolve) => {
      this.#waiting = { id, resolve }
    })
    this.#socket.send(encode({ type: 'query', id, flags: 256, questions: [{ type: 'A', name }] }), 8600, this.#host)
    const late = new Promise<string[]>((resolve) => {
      const at = setTimeout(() => resolve([]), timeout)
      timer.signal.addEventListener('abort', () => clearTimeout(at))
    })
    const found = await Promise.race([answer, late])
    timer.abort()
    return found
  }

  close(): void {
    this.#socket.close()
  }
}
