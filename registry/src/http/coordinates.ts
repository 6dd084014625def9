/** `/v1/coordinate/`: where nodes are, as the catalog has it, and where servers are among those of all datacenters. */
import type { AgentSurface } from '../agent/surface.ts'
import { BadRequest, Refused } from '../errors.ts'
import { isCoordinate } from '../gossip/coordinate.ts'
import type { Coordinate, NodeCoordinate } from '../model.ts'
import { readBody } from './body.ts'
import { Fields, parseJson } from './decode.ts'
import { askElsewhere, isElsewhere } from './elsewhere.ts'
import { type Answer, type Asked, type Endpoint, empty, type HttpOptions, json } from './endpoint.ts'
import { localOnly, reading, readOptions } from './query.ts'

export function coordinateEndpoints(surface: AgentSurface, options: HttpOptions): Endpoint[] {
  return [
    { path: '/v1/coordinate/datacenters', verbs: { GET: (asked) => datacenters(surface, asked) } },
    { path: '/v1/coordinate/nodes', verbs: { GET: (asked) => nodes(surface, options, asked) } },
    { path: '/v1/coordinate/node/', verbs: { GET: (asked) => node(surface, options, asked) } },
    { path: '/v1/coordinate/update', verbs: { PUT: (asked) => update(surface, asked) } },
  ]
}

/** In Consul's spelling. */
export function consulCoordinate({ vector, error, adjustment, height }: Coordinate) {
  return { Vec: vector, Error: error, Adjustment: adjustment, Height: height }
}

function nodeCoordinate({ node: name, segment, coordinate }: NodeCoordinate) {
  return { Node: name, Segment: segment, Coord: consulCoordinate(coordinate) }
}

async function datacenters(surface: AgentSurface, asked: Asked): Promise<Answer> {
  const all = await surface.coordinates.datacenters()
  return json(
    asked,
    all.map(({ datacenter, coordinates }) => ({
      Datacenter: datacenter,
      AreaID: 'wan',
      Coordinates: coordinates.map(nodeCoordinate),
    })),
  )
}

async function nodes(surface: AgentSurface, options: HttpOptions, asked: Asked): Promise<Answer> {
  const { value, headers } = await reading(surface, options, readOptions(asked, options), asked, {
    topics: [{ kind: 'coordinates' }],
    look: (view) => view.coordinates(),
  })
  return json(asked, ofSegment(asked, value).map(nodeCoordinate), headers)
}

async function node(surface: AgentSurface, options: HttpOptions, asked: Asked): Promise<Answer> {
  const { name } = asked
  const { value, headers } = await reading(surface, options, readOptions(asked, options), asked, {
    topics: [{ kind: 'coordinates', node: name }],
    look: (view) => view.nodeCoordinates(name),
  })
  const found = ofSegment(asked, value)
  // Consul 1.8: without an index, so there is nothing to wait for.
  if (found.length === 0) return empty(404)
  // Under the name that was asked for, as in Consul.
  return json(
    asked,
    found.map((each) => nodeCoordinate({ ...each, node: name })),
    headers,
  )
}

/** `?segment=`, also of the empty name. */
function ofSegment({ query }: Asked, rows: readonly NodeCoordinate[]): readonly NodeCoordinate[] {
  const wanted = query.get('segment')
  return wanted === null ? rows : rows.filter(({ segment }) => segment === wanted)
}

async function update(surface: AgentSurface, asked: Asked): Promise<Answer> {
  const body = await readBody(asked.request)
  const fields = new Fields(parseJson(body), 'CoordinateUpdateRequest')
  const datacenter = asked.query.get('dc') || fields.text('Datacenter')
  // Consul 1.8 breaks down over this and closes the connection.
  if (!fields.has('Coord')) throw new BadRequest('Request decode failed: expected a coordinate in Coord')
  const given = fields.object('Coord', 'Coordinate.Coord')
  const coordinate: Coordinate = {
    vector: given.floats('Vec'),
    error: given.float('Error'),
    adjustment: given.float('Adjustment'),
    height: given.float('Height'),
  }
  const told: NodeCoordinate = { node: fields.text('Node'), segment: fields.text('Segment'), coordinate }
  if (isElsewhere(surface, asked, datacenter)) {
    return askElsewhere(surface, { asked, datacenter, method: 'PUT', path: '/v1/coordinate/update', body })
  }
  localOnly(surface, datacenter)
  if (!isCoordinate(coordinate)) throw new Refused('incompatible coordinate')
  await surface.coordinates.update(told)
  return empty()
}
