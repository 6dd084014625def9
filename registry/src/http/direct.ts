/**
 * The short way in, for what is asked most often: keys, and the instances of a service. The listener asks here before it
 * makes the framework's objects of a request, which cost more than the answer does. Same endpoints, same errors, same
 * words; whatever is not plainly one of them goes the long way.
 */
import type { AgentSurface } from '../agent/surface.ts'
import { endpointsOf } from './app.ts'
import type { Answer, HttpOptions, Sent, Verb } from './endpoint.ts'
import { failure } from './failure.ts'
import { outward } from './outward.ts'
import { readPath, readQuery } from './target.ts'

/** Undefined: the application shall answer this. Never rejects. */
export type Direct = (method: string, target: string, request: () => Sent) => Answer | Promise<Answer> | undefined

export function directAnswers(surface: AgentSurface, options: HttpOptions): Direct {
  const hot = endpointsOf(surface, options).filter((endpoint) => endpoint.hot)
  const noQuery = readQuery('')
  const out = outward(options)
  const { blockEndpoints = [], mayWrite } = options
  return (method, target, request) => {
    const endpoint = hot.find(({ path }) => target.startsWith(path))
    const answer = endpoint?.verbs[method as Verb]
    if (endpoint === undefined || answer === undefined) return undefined
    // Who may ask is decided in one place only.
    if (blockEndpoints.length > 0 || (mayWrite !== undefined && method !== 'GET')) return undefined
    const mark = target.indexOf('?')
    const path = mark < 0 ? target : target.slice(0, mark)
    const read = readPath(path)
    // Decoded, it may be another's.
    if (read.kind !== 'path' || !read.path.startsWith(endpoint.path)) return undefined
    const query = mark < 0 ? noQuery : readQuery(target.slice(mark + 1))
    const pretty = options.pretty === true || query.has('pretty')
    const sent = request()
    const failed = (error: Error) => out(failure(error, `${method} ${path}`, options), sent)
    try {
      const found = answer({ name: read.path.slice(endpoint.path.length), query, request: sent, pretty })
      return found instanceof Promise ? found.then((each) => out(each, sent), failed) : out(found, sent)
    } catch (error) {
      return failed(error as Error)
    }
  }
}
