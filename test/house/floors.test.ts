import assert from 'node:assert/strict'
import { code, sourceFiles, target } from './source.ts'

const floors: Record<string, number> = {
  cli: 5,
  http: 4,
  dns: 4,
  client: 4,
  agent: 3,
  replica: 2,
  raft: 1,
  gossip: 1,
  health: 1,
  store: 1,
  io: 0,
}

/** `registry/src/raft/log.ts` is in the room `raft`; what lies beside the rooms is on the ground. */
function room(path: string): string | undefined {
  const [, name] = /^registry\/src\/([^/]+)\//.exec(path) ?? []
  return name
}
const floor = (path: string) => floors[room(path) ?? 'io'] ?? 0

describe('floors', () => {
  const registry = sourceFiles().filter(({ path }) => path.startsWith('registry/src/'))

  it('knows every room', () => {
    const rooms = new Set(registry.map(({ path }) => room(path)).filter((name) => name !== undefined))
    assert.deepEqual(
      [...rooms].filter((name) => !(name in floors)),
      [],
    )
  })

  it('a file imports from its own room or from a lower floor', () => {
    const climbing = registry.flatMap((file) =>
      file.imports
        .filter((specifier) => specifier.startsWith('.'))
        .map((specifier) => target(file, specifier))
        .filter(
          (to) => room(to) !== room(file.path) && floor(to) >= floor(file.path) && floor(to) + floor(file.path) > 0,
        )
        .map((to) => `${file.path} imports ${to}`),
    )
    assert.deepEqual(climbing, [])
  })

  it('a pure room is never in the middle of something: no async on floor 1', () => {
    const waiting = registry
      .filter(({ path }) => room(path) !== undefined && floor(path) === 1)
      .filter(({ text }) => /\b(async|await|Promise)\b/.test(code(text)))
      .map(({ path }) => path)
    assert.deepEqual(waiting, [])
  })

  it('no module keeps state: a top-level let, or a top-level collection that is changed', () => {
    const keeping = registry.flatMap(({ path, text }) =>
      code(text)
        .split('\n')
        .filter((line) => /^(export )?let /.test(line))
        .map((line) => `${path}: ${line}`),
    )
    assert.deepEqual(keeping, [])
  })
})
