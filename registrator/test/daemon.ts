/** Docker's API as the registrator uses it, on a socket of its own, for one container. */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Inspected } from '../src/container.ts'

/** A daemon on a socket in a folder of its own, whose event stream a test writes by hand. */
export class DaemonDouble {
  readonly asked: string[] = []
  readonly folder = mkdtempSync(join(tmpdir(), 'docker-'))
  readonly host = `unix://${join(this.folder, 'docker.sock')}`
  /** A recorded answer of a real engine: redis.0, publishing 6379 at 10000. */
  readonly container = recorded()
  events: ServerResponse | undefined
  #server: Server | undefined

  async start(): Promise<void> {
    this.#server = createServer((request, response) => {
      const url = new URL(request.url ?? '/', 'http://docker')
      this.asked.push(`${request.method} ${url.pathname}`)
      const json = (status: number, body: object) => {
        response.writeHead(status, { 'Content-Type': 'application/json' })
        response.end(JSON.stringify(body))
      }
      if (url.pathname === '/info') json(200, { ID: 'ENGINE', Name: 'host3' })
      else if (url.pathname === '/containers/json') json(200, [{ Id: this.container.Id }])
      else if (url.pathname === `/containers/${this.container.Id}/json`) json(200, this.container)
      else if (url.pathname === '/containers/broken/json') {
        response.writeHead(500)
        response.end('{"message":"no space left on device"}')
      } else if (url.pathname === '/events') {
        assert.deepEqual(JSON.parse(url.searchParams.get('filters') ?? '').type, ['container', 'network'])
        response.writeHead(200, { 'Content-Type': 'application/json' })
        response.flushHeaders()
        this.events = response
      } else json(404, { message: 'No such container' })
    })
    await new Promise<void>((resolve) => this.#server?.listen(this.host.slice('unix://'.length), resolve))
  }

  async stop(): Promise<void> {
    this.#server?.closeAllConnections()
    await new Promise((resolve) => this.#server?.close(resolve))
    rmSync(this.folder, { recursive: true })
  }
}

function recorded(): Inspected {
  const file = new URL('./data/containers.json', import.meta.url)
  return (JSON.parse(readFileSync(file, 'utf8')) as { inspect: Inspected }[])[0]!.inspect
}
