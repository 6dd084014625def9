import assert from 'node:assert/strict'
import { code, sourceFiles } from './source.ts'

/** The only files that may touch the world. */
const doors = [
  /^registry\/src\/io\/node(-\w+)?\.ts$/,
  /^registry\/src\/http\/server\.ts$/,
  /^registry\/src\/dns\/server\.ts$/,
  /^registry\/src\/cli\//,
  /^registrator\/src\/docker\.ts$/,
  /^distributed_app\/src\/(master|worker)\.ts$/,
  /\/main\.ts$/,
]

const worldly =
  /^(node:)?(fs|fs\/promises|net|dgram|http|https|crypto|child_process|tls|dns|dns\/promises|cluster|os|timers|timers\/promises)$|^dockerode$|^@hono\/node-server/
const globals =
  /(?<![.\w#'])(Date|performance|process|crypto|fetch|setTimeout|setInterval|setImmediate)\b(?!\s*[:?]|\w)|\bMath\.random\b|\bAbortSignal\.timeout\b/

describe('doors', () => {
  const indoors = sourceFiles().filter(({ path }) => !doors.some((door) => door.test(path)))

  it('only doors import the world', () => {
    const found = indoors.flatMap(({ path, imports }) =>
      imports.filter((name) => worldly.test(name)).map((name) => `${path} imports ${name}`),
    )
    assert.deepEqual(found, [])
  })

  it('only doors use the clock, chance, timers and the network that JavaScript has as globals', () => {
    const found = indoors.flatMap(({ path, text }) =>
      code(text)
        .split('\n')
        .filter((line) => globals.test(line))
        .map((line) => `${path}: ${line.trim()}`),
    )
    assert.deepEqual(found, [])
  })
})
