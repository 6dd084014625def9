/**
 * Docker checks: a program within a container, through the Docker Engine's API (POST /containers/ID/exec, /exec/ID/start,
 * GET /exec/ID/json). Where the engine listens says DOCKER_HOST: unix:// (the default, /var/run/docker.sock) or tcp://.
 * Words as Consul 1.8 has them (`agent/checks/docker.go`).
 */
import { request as httpRequest, type IncomingMessage } from 'node:http'
import type { ProbeOutcome, ProbeRequest } from './io.ts'
import { Kept } from './kept.ts'

type DockerRequest = Extract<ProbeRequest, { kind: 'docker' }>

/** An answer of the engine itself, not of the program. */
const answerMax = 65_536

export async function docker(request: DockerRequest): Promise<ProbeOutcome> {
  const { container, args, timeout, outputMax } = request
  const signal = AbortSignal.timeout(timeout)
  const what = `container ${container}`
  try {
    const created = await call(signal, 'POST', `/containers/${encodeURIComponent(container)}/exec`, answerMax, {
      AttachStdin: false,
      AttachStdout: true,
      AttachStderr: true,
      Tty: true,
      Cmd: args,
    })
    if (created.status !== 201) throw new Error(refused('create', container, created))
    const id = String((JSON.parse(created.text) as { Id?: unknown }).Id)
    const started = await call(signal, 'POST', `/exec/${id}/start`, outputMax, { Detach: false, Tty: true })
    if (started.status !== 200) throw new Error(refused('start', container, started))
    const inspected = await call(signal, 'GET', `/exec/${id}/json`, answerMax)
    if (inspected.status !== 200) throw new Error(refused('inspect', container, inspected))
    const { ExitCode: code } = JSON.parse(inspected.text) as { ExitCode?: number | null }
    return { status: code === 0 ? 'passing' : code === 1 ? 'warning' : 'critical', output: started.text }
  } catch (error) {
    const reason = (error as Error).message
    if (signal.aborted) return { status: 'critical', output: `Timed out (${timeout / 1000}s) running check` }
    return { status: 'critical', output: / exec failed /.test(reason) ? reason : `exec failed for ${what}: ${reason}` }
  }
}

interface EngineAnswer {
  status: number
  text: string
}

function refused(step: 'create' | 'start' | 'inspect', container: string, { status, text }: EngineAnswer): string {
  if (status === 404 && step === 'create') return `create exec failed for unknown container ${container}: ${text}`
  if (status === 409) return `${step} exec failed since container ${container} is paused or stopped: ${text}`
  return `${step} exec failed for container ${container} with status ${status}: ${text}`
}

async function call(
  signal: AbortSignal,
  method: string,
  path: string,
  keep: number,
  body?: unknown,
): Promise<EngineAnswer> {
  const text = body === undefined ? '' : JSON.stringify(body)
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
    const sent = httpRequest({ ...engine(), method, path, headers, signal, agent: false }, resolve)
    sent.on('error', reject)
    sent.end(text)
  })
  const kept = new Kept(keep)
  for await (const chunk of response as AsyncIterable<Buffer>) kept.add(chunk)
  return { status: response.statusCode ?? 0, text: kept.text() }
}

/** @throws Error when DOCKER_HOST says something else than where to connect */
function engine(): { socketPath: string } | { host: string; port: number } {
  const given = process.env.DOCKER_HOST ?? ''
  if (given === '') return { socketPath: '/var/run/docker.sock' }
  if (given.startsWith('unix://')) return { socketPath: given.slice('unix://'.length) }
  const url = URL.canParse(given) ? new URL(given.replace(/^tcp:/, 'http:')) : undefined
  if (url === undefined || url.protocol !== 'http:') {
    throw new Error(`DOCKER_HOST: expected unix:///path or tcp://host:port, received "${given}"`)
  }
  return { host: url.hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(url.port === '' ? 2375 : url.port) }
}
