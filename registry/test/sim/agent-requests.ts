/** How a request gets to an agent's HTTP face without a socket, and what comes back. */
import type { Sent } from '../../src/http/endpoint.ts'
import type { Index } from '../../src/model.ts'
import type { Life } from './agents.ts'

export interface Answered {
  status: number
  text: string
  headers: Pick<Headers, 'get'>
  /** How far the agent's store was when it answered. */
  storeIndex: Index
}

/** As the listener does: the short way for what has one, else through the framework. */
export async function answerOf(
  { direct, app, store }: Life,
  method: string,
  path: string,
  body: Uint8Array<ArrayBuffer>,
  signal: AbortSignal,
): Promise<Answered> {
  const length = String(body.length)
  const sent: Sent = {
    header: (name) => (name === 'content-length' ? length : null),
    signal,
    content: async () => body,
  }
  const hot = direct(method, path, () => sent)
  if (hot !== undefined) {
    const { status, headers, body: found } = await hot
    const text = typeof found === 'string' ? found : Buffer.from(found).toString()
    return { status, text, headers: { get: (name) => headers[name] ?? null }, storeIndex: store.index }
  }
  const init: RequestInit = { method, signal }
  if (method !== 'GET') Object.assign(init, { body, headers: { 'content-length': length } })
  const response = await app.request(new Request(`http://agent${path}`, init))
  const storeIndex = store.index
  return { status: response.status, text: await response.text(), headers: response.headers, storeIndex }
}
