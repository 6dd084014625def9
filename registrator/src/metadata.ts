/**
 * What a container's environment and labels say about one of its ports: `SERVICE_<key>` for all of them,
 * `SERVICE_<port>_<key>` for one, whose word counts more whichever comes first. Labels come after the environment,
 * so they win. The prefix is upper case, keys are taken in lower case, and an empty value counts as given.
 */
import type { Container } from './container.ts'

export interface Metadata {
  values: ReadonlyMap<string, string>
  /** Keys that were given for this very port. */
  ofPort: ReadonlySet<string>
}

export function metadataOf(container: Pick<Container, 'env' | 'labels'>, port: number): Metadata {
  const values = new Map<string, string>()
  const ofPort = new Set<string>()
  for (const [name, value] of settingsOf(container)) {
    const match = /^(\d+)_(.+)$/.exec(name)
    if (match === null) {
      if (!ofPort.has(name)) values.set(name, value)
      // As text: SERVICE_080_NAME is not about port 80.
    } else if (match[1] === String(port)) {
      ofPort.add(match[2] as string)
      values.set(match[2] as string, value)
    }
  }
  return { values, ofPort }
}

/** Without the prefix, in lower case, later ones winning. Labels in name order: engines list them in any. */
function* settingsOf({ env, labels }: Pick<Container, 'env' | 'labels'>): Iterable<[string, string]> {
  for (const line of env) {
    const equals = line.indexOf('=')
    if (equals > 0 && line.startsWith(prefix)) {
      yield [line.slice(prefix.length, equals).toLowerCase(), line.slice(equals + 1)]
    }
  }
  for (const label of Object.keys(labels).sort()) {
    if (label.startsWith(prefix)) yield [label.slice(prefix.length).toLowerCase(), labels[label] as string]
  }
}

const prefix = 'SERVICE_'

/** Splits at commas; `\,` is a comma inside an item. Empty items go, order stays. */
export function listOf(text: string): string[] {
  return text
    .split(/(?<!\\),/)
    .map((item) => item.replaceAll('\\,', ','))
    .filter((item) => item !== '')
}
