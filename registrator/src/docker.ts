/**
 * The Docker engine over dockerode: four calls and the event stream. Every call has a deadline of its own, because
 * dockerode never settles one whose connection breaks in the middle of the body. Keeps no state of containers.
 */
import { existsSync } from 'node:fs'
import Docker from 'dockerode'
import { type Container, containerOf, type Inspected } from './container.ts'
import type { Engine, Subscription } from './engine.ts'

const callDeadline = 10_000

/** The socket the original's users mount; theirs and the engine's own place are looked for in this order. */
const sockets = ['/tmp/docker.sock', '/var/run/docker.sock']

/** What happens to containers without changing anything a registration says is not asked for. */
const events = {
  type: ['container', 'network'],
  event: ['start', 'die', 'pause', 'unpause', 'rename', 'destroy', 'update', 'connect', 'disconnect'],
}

/** @param host DOCKER_HOST: `unix:///path`, `tcp://host:port`; undefined looks for a socket. TLS as the docker command. */
export function dockerEngine(host: string | undefined): Engine {
  // Not among the types: how long the head of an answer may take. Idle event streams are not affected.
  const options: Docker.DockerOptions & { connectionTimeout: number } = { connectionTimeout: callDeadline }
  // With DOCKER_HOST dockerode reads it and its companions (DOCKER_TLS_VERIFY, DOCKER_CERT_PATH) by itself.
  if (!host) options.socketPath = sockets.find(existsSync) ?? sockets[1]!
  const docker = new Docker(options)
  return {
    async identity() {
      const info = (await inTime(docker.info())) as { ID: string; Name: string }
      return { id: info.ID, name: info.Name }
    },
    async list() {
      const containers = await inTime(docker.listContainers({ all: true }))
      return containers.map((container) => container.Id)
    },
    async inspect(id): Promise<Container | undefined> {
      try {
        return containerOf((await inTime(docker.getContainer(id).inspect())) as unknown as Inspected)
      } catch (error) {
        if ((error as { statusCode?: number }).statusCode === 404) return undefined
        throw error
      }
    },
    async subscribe(onChange, onEnd): Promise<Subscription> {
      const stream = (await inTime(docker.getEvents({ filters: JSON.stringify(events) }))) as NodeJS.ReadableStream & {
        destroy(): void
      }
      let ended = false
      const end = (reason: Error) => {
        if (ended) return
        ended = true
        stream.destroy()
        onEnd(reason)
      }
      const lines = new Lines((line) => {
        const id = containerIn(line)
        if (id !== undefined) onChange(id)
      })
      stream.setEncoding('utf8')
      // Never paused: the engine drops events of a reader that is slow for a tenth of a second.
      stream.on('data', (text: string) => lines.add(text))
      stream.on('error', (error: Error) => end(error))
      stream.on('end', () => end(new Error('the event stream ended')))
      stream.on('close', () => end(new Error('the event stream was closed')))
      return {
        close() {
          ended = true
          stream.destroy()
        },
      }
    },
  }
}

/** Text in pieces to lines; one event may come in several pieces and several in one. */
class Lines {
  readonly #onLine: (line: string) => void
  #rest = ''

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine
  }

  add(text: string): void {
    const parts = (this.#rest + text).split('\n')
    this.#rest = parts.pop() ?? ''
    for (const part of parts) if (part.trim() !== '') this.#onLine(part)
  }
}

/** The container an event is about; a network's events name it among their attributes. */
function containerIn(line: string): string | undefined {
  let event: { Type?: string; Actor?: { ID?: string; Attributes?: { container?: string } } }
  try {
    event = JSON.parse(line)
  } catch {
    return undefined
  }
  return event.Type === 'network' ? event.Actor?.Attributes?.container : event.Actor?.ID
}

async function inTime<T>(call: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer from Docker within ${callDeadline} ms`)), callDeadline)
  })
  try {
    return await Promise.race([call, deadline])
  } catch (error) {
    throw withAdvice(error as NodeJS.ErrnoException)
  } finally {
    clearTimeout(timer)
    // When the deadline won, nobody is left to hear of the call's own failure.
    call.catch(() => {})
  }
}

/** The same error, and for the two mistakes everybody makes once with sockets, what to do. */
export function withAdvice(error: NodeJS.ErrnoException & { address?: string }): Error {
  const { code, address, message } = error
  if (!address?.startsWith('/') || !(code === 'EACCES' || code === 'ENOENT')) return error
  const advice =
    code === 'ENOENT'
      ? `there is no socket; in a container mount it with -v /var/run/docker.sock:${address}, or set DOCKER_HOST`
      : 'the socket is not for this user; run it with the socket\'s group: docker run --group-add "$(stat -c %g ' +
        '/var/run/docker.sock)", with Compose that number as DOCKER_GID in .env'
  return new Error(`${message}: ${advice}`, { cause: error })
}
