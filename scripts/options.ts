/** Prints the agent's options as the page docs/options.md: `node scripts/options.ts > docs/options.md`. */
import { type Option, options, retiredFlags, specialFlags } from '../registry/src/cli/options.ts'

export function optionsPage(): string {
  const rows = (options as readonly Option[]).map(({ flag, key, kind, default: value, help }) => {
    const shown = value === undefined || value === '' ? '' : `\`${value}\``
    return `| ${flag === undefined ? '' : `\`-${flag}\``} | \`${key}\` | ${kind} | ${shown} | ${help} |`
  })
  return [
    '# Options of the agent',
    '',
    'Flags take one dash or two, and their value after `=` or a space. Defaults, then files in order, then flags; lists',
    'add up. Made from `registry/src/cli/options.ts` by `node scripts/options.ts`.',
    '',
    '| flag | key in a file | kind | default | |',
    '|---|---|---|---|---|',
    ...rows,
    '',
    'Flags that choose among files and defaults:',
    '',
    '| flag | |',
    '|---|---|',
    ...specialFlags.map(({ name, help }) => `| \`-${name}\` | ${help} |`),
    '',
    'Words of former Consuls that are accepted with a warning: ' +
      `${retiredFlags.map(({ name }) => `\`-${name}\``).join(', ')}.`,
    '',
  ].join('\n')
}

if (import.meta.main) process.stdout.write(optionsPage())
