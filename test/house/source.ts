/** The source files of the house and what they import, for the rules of the house. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = join(dirname(fileURLToPath(import.meta.url)), '../..')

export interface SourceFile {
  /** From the repository's root. */
  path: string
  text: string
  imports: string[]
}

/** Product source: no tests, no data. */
export function sourceFiles(): SourceFile[] {
  return ['registry/src', 'registrator/src', 'distributed_app/src', 'distributed_client/src'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
      .map((name) => {
        const path = `${folder}/${name}`
        const text = readFileSync(join(root, path), 'utf8')
        return { path, text, imports: importsOf(text) }
      }),
  )
}

function importsOf(text: string): string[] {
  const found = text.matchAll(
    /(?:^|\n)(?:import|export)\b[^'"]*?\bfrom '([^']+)'|\bimport\('([^']+)'\)|\nimport '([^']+)'/g,
  )
  return [...found].map((match) => (match[1] ?? match[2] ?? match[3]) as string)
}

/** Where a relative import of a file leads, from the repository's root. */
export function target(file: SourceFile, specifier: string): string {
  return relative(root, join(root, dirname(file.path), specifier))
}

/** The code alone: comments and texts blanked. */
export function code(text: string): string {
  return text
    .replaceAll(/\/\*[\s\S]*?\*\//g, '')
    .replaceAll(/(^|[^:'"`])\/\/.*$/gm, '$1')
    .replaceAll(/'(?:[^'\\\n]|\\.)*'/g, "''")
    .replaceAll(/"(?:[^"\\\n]|\\.)*"/g, '""')
}
