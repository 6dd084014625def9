/**
 * The product with a bug in it. `load` imports a module, and everything it imports in turn, once more: under addresses
 * that end in `?bug=NAME`, with the text of some files changed on the way from the disk. So no product code knows of this,
 * the modules as they are stay beside the changed ones, and one process can try many bugs.
 *
 * A change names what it replaces word for word. When that is not there exactly once, loading fails: the code has moved
 * on, and the bug has to be brought after it.
 */
import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { fileURLToPath } from 'node:url'

export interface Edit {
  /** Below `registry/src`. */
  file: string
  /** Occurs there exactly once. */
  find: string
  replace: string
}

const registry = new URL('../../', import.meta.url).href
const marked = /\?bug=([a-z0-9-]+)$/

export class Patches {
  readonly #edits = new Map<string, { edits: readonly Edit[]; open: string }>()
  readonly #hooks: { deregister(): void }

  constructor() {
    this.#hooks = registerHooks({
      resolve: (specifier, context, next) => {
        const resolved = next(specifier, context)
        const mark = marked.exec(context.parentURL ?? '')
        if (mark === null || marked.test(resolved.url) || !resolved.url.startsWith(registry)) return resolved
        return { ...resolved, url: `${resolved.url}${mark[0]}` }
      },
      load: (url, context, next) => {
        const changes = this.#edits.get(marked.exec(url)?.[1] ?? '')
        if (changes === undefined) return next(url, context)
        const file = fileURLToPath(url.replace(marked, ''))
        const own = changes.edits.filter((edit) => file === sourceFile(edit))
        let source = own.reduce(apply, readFileSync(file, 'utf8'))
        if (changes.open !== '' && file.startsWith(sourceFile({ file: changes.open }))) source = opened(source)
        return { format: 'module-typescript', source, shortCircuit: true }
      },
    })
  }

  /**
   * The module at `file`, below `registry/`, with the edits made in it and in whatever it imports.
   * @param open the folder below `registry/src` whose classes have no private parts then: what they hold can be copied.
   * @throws Error when an edit does not fit.
   */
  async load<T>(name: string, edits: readonly Edit[], file: string, open = ''): Promise<T> {
    for (const edit of edits) apply(readFileSync(sourceFile(edit), 'utf8'), edit)
    this.#edits.set(name, { edits, open })
    return (await import(`${new URL(file, registry).href}?bug=${name}`)) as T
  }

  /** Loads no more. */
  end(): void {
    this.#hooks.deregister()
  }
}

function sourceFile({ file }: { file: string }): string {
  return fileURLToPath(new URL(`src/${file}`, registry))
}

/** `#name` is `_name`. */
function opened(source: string): string {
  return source.replace(/#(?=[a-zA-Z])/g, '_')
}

/** @throws Error when what is to be replaced is not there exactly once. */
export function apply(source: string, { file, find, replace }: Edit): string {
  const parts = source.split(find)
  if (parts.length !== 2) {
    throw new Error(`registry/src/${file}: expected once, found ${parts.length - 1} times:\n${find}`)
  }
  return parts.join(replace)
}
