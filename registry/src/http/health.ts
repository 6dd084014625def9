/** `/v1/health/`: instances with the checks that decide whether they may be used, and checks alone. */
import type { AgentSurface } from '../agent/surface.ts'
import { BadRequest } from '../errors.ts'
import type { Check, Instance, Node } from '../model.ts'
import type { Indexed, Topic, View } from '../store/view.ts'
import { type CatalogRead, catalogRead } from './catalog.ts'
import { type Answer, type Asked, type Endpoint, type HttpOptions, json } from './endpoint.ts'
import { nearest } from './near.ts'
import { nodeMeta } from './query.ts'
import { checkServiceNodeShape, checkShape } from './selector.ts'
import { checkServiceNode, consulCheck } from './shapes.ts'

export function healthEndpoints(surface: AgentSurface, options: HttpOptions): Endpoint[] {
  const read = (answer: (asked: Asked, read: CatalogRead) => Promise<Answer>) => ({
    GET: (asked: Asked) => answer(asked, catalogRead(surface, options, asked)),
  })
  return [
    { path: '/v1/health/service/', hot: true, verbs: read((asked, each) => service(surface, asked, each)) },
    {
      path: '/v1/health/node/',
      verbs: read((asked, each) => {
        const node = required(asked, 'Missing node name')
        return checks(surface, asked, each, [{ kind: 'node', node }], (view) => view.nodeChecks(node))
      }),
    },
    {
      path: '/v1/health/checks/',
      verbs: read((asked, each) => {
        const name = required(asked, 'Missing service name')
        return checks(surface, asked, each, [{ kind: 'service', service: name }], (view) => view.serviceChecks(name))
      }),
    },
    {
      path: '/v1/health/state/',
      verbs: read((asked, each) => {
        const state = required(asked, 'Missing check state')
        return checks(surface, asked, each, [{ kind: 'checks', state }], (view) => view.checksInState(state))
      }),
    },
  ]
}

async function service(surface: AgentSurface, asked: Asked, read: CatalogRead): Promise<Answer> {
  const { query } = asked
  const near = nearest(surface, query)
  const name = required(asked, 'Missing service name')
  const tags = query.getAll('tag')
  const passing = isOn(query)
  const wanted = nodeMeta(query)
  const keep = (instance: Instance) => (!passing || isPassing(instance)) && (!wanted || wanted(instance.node))
  const some = (all: Instance[]) => (passing || wanted ? all.filter(keep) : all)
  const { rows, headers } = await read(
    { topics: [{ kind: 'service', service: name }], look: (view) => view.instances(name, tags) },
    {
      shape: checkServiceNodeShape,
      rows: (all) => (near ? near(some(all), ({ node }) => node.name) : some(all)).map(checkServiceNode),
    },
  )
  return json(asked, rows, headers)
}

async function checks(
  surface: AgentSurface,
  asked: Asked,
  read: CatalogRead,
  topics: Topic[],
  look: (view: View) => Indexed<Check[]>,
): Promise<Answer> {
  const wanted = nodeMeta(asked.query)
  const near = nearest(surface, asked.query)
  const nodes = (view: View) => {
    const found = look(view)
    if (wanted === undefined) return found
    const ofNode = new Map<string, boolean>()
    const belongs = ({ node }: Check) => {
      let is = ofNode.get(node)
      if (is === undefined) {
        const row: Node | undefined = view.node(node).value?.node
        is = row !== undefined && wanted(row)
        ofNode.set(node, is)
      }
      return is
    }
    return { index: found.index, value: found.value.filter(belongs) }
  }
  const { rows, headers } = await read(
    { topics, look: nodes },
    { shape: checkShape, rows: (all) => (near ? near(all, ({ node }) => node) : all).map(consulCheck) },
  )
  return json(asked, rows, headers)
}

/** Every check of the instance and of its node passes; a warning is not passing. */
function isPassing(instance: Instance): boolean {
  return instance.checks.every(({ status }) => status === 'passing')
}

/** `?passing`, alone or with what Go takes for a boolean. */
export function isOn(query: URLSearchParams): boolean {
  const value = query.get('passing')
  if (value === null) return false
  if (value === '' || /^(1|t|T|true|TRUE|True)$/.test(value)) return true
  if (/^(0|f|F|false|FALSE|False)$/.test(value)) return false
  throw new BadRequest('Invalid value for ?passing')
}

function required({ name }: Asked, missing: string): string {
  if (name === '') throw new BadRequest(missing)
  return name
}
