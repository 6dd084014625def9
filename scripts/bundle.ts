/**
 * Makes one file of each program, for the images: dist/PROGRAM.mjs, with everything it imports inside.
 *
 *   node scripts/bundle.ts [PROGRAM...]     all of them without a name
 *
 * The same sources give the same bytes. Names are kept, so that a stack trace from an image reads like one from the
 * sources.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** Program → where it begins. distributed_app's workers are the same file, started again by its master. */
const programs: Record<string, string> = {
  registry: 'registry/src/cli/main.ts',
  registrator: 'registrator/src/main.ts',
  distributed_app: 'distributed_app/src/main.ts',
  distributed_client: 'distributed_client/src/main.ts',
}

// CommonJS packages inside an ES module still ask for these three.
const banner = [
  "import { createRequire as __createRequire } from 'node:module'",
  "import { fileURLToPath as __fileURLToPath } from 'node:url'",
  'const require = __createRequire(import.meta.url)',
  'const __filename = __fileURLToPath(import.meta.url)',
  "const __dirname = __fileURLToPath(new URL('.', import.meta.url))",
].join('\n')

const asked = process.argv.slice(2)
const mistakes = asked.filter((name) => !(name in programs))
if (mistakes.length > 0) {
  console.error(
    `scripts/bundle.ts: expected any of ${Object.keys(programs).join(', ')}, received ${mistakes.join(', ')}`,
  )
  process.exit(2)
}

mkdirSync(join(root, 'dist'), { recursive: true })
for (const [program, entry] of Object.entries(programs)) {
  if (asked.length > 0 && !asked.includes(program)) continue
  if (!existsSync(join(root, entry))) {
    console.error(`scripts/bundle.ts: ${program} begins at ${entry}, which does not exist`)
    process.exit(1)
  }
  const outfile = join(root, 'dist', `${program}.mjs`)
  await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node22',
    keepNames: true,
    legalComments: 'eof',
    banner: { js: banner },
    // Optional native speed-ups of packages: absent here, and the packages fall back by themselves.
    external: ['*.node', 'cpu-features'],
    logLevel: 'warning',
  })
  const bytes = readFileSync(outfile)
  const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 12)
  console.log(`${relative(root, outfile)} ${Math.ceil(bytes.length / 1024)} KiB ${hash}`)
}
