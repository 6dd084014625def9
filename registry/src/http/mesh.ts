/**
 * What Consul answers about its service mesh when there is none: no proxies, no gateways, no certificates. Clients that
 * look for a mesh find out here that they must do without.
 */
import type { AgentSurface } from '../agent/surface.ts'
import { BadRequest, Refused } from '../errors.ts'
import type { Topic, View } from '../store/view.ts'
import { catalogRead } from './catalog.ts'
import { type Asked, type Endpoint, type HttpOptions, json } from './endpoint.ts'
import { isOn } from './health.ts'
import { FailedRead } from './query.ts'
import { checkServiceNodeShape, type Shape, serviceNodeShape } from './selector.ts'

const disabled = 'Connect must be enabled in order to use this endpoint'

export function meshEndpoints(surface: AgentSurface, options: HttpOptions): Endpoint[] {
  /** A read that finds nothing, whose options are read and refused as everywhere. */
  const nothing =
    (missing: string, shape: Shape, index: 'of the service' | 'none', value: [] | null = []) =>
    async (asked: Asked) => {
      const read = catalogRead(surface, options, asked)
      const { name, query } = asked
      if (name === '') throw new BadRequest(missing)
      if (shape === checkServiceNodeShape) isOn(query)
      // Consul reads no filter where there is nothing to filter by.
      if (value === null) query.delete('filter')
      const topics: Topic[] = index === 'none' ? [] : [{ kind: 'service', service: name }]
      const look = (view: View) => ({ index: index === 'none' ? 1 : view.instances(name, []).index, value })
      const { headers } = await read({ topics, look }, { shape, rows: () => [] })
      return json(asked, value, headers)
    }
  const service = 'Missing service name'
  return [
    { path: '/v1/catalog/connect/', verbs: { GET: nothing(service, serviceNodeShape, 'of the service') } },
    {
      path: '/v1/catalog/gateway-services/',
      verbs: { GET: nothing('Missing gateway name', { fields: {} }, 'none', null) },
    },
    { path: '/v1/health/connect/', verbs: { GET: nothing(service, checkServiceNodeShape, 'of the service') } },
    { path: '/v1/health/ingress/', verbs: { GET: nothing(service, checkServiceNodeShape, 'none') } },
    {
      path: '/v1/agent/connect/ca/roots',
      verbs: {
        GET: () => {
          throw new Refused(disabled)
        },
      },
    },
    {
      path: '/v1/connect/ca/roots',
      verbs: {
        GET: () => {
          throw new FailedRead('there are no roots', { cause: new Refused(disabled) })
        },
      },
    },
  ]
}
