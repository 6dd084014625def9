/** Flags as Go's flag package reads them, which Consul's users are used to: `-x`, `--x`, `-x value`, `-x=value`. */
export interface Flag {
  name: string
  /** A boolean takes no value, or `=true` / `=false`. */
  takes: 'nothing' | 'value'
  /** Shown in the help: `-node=<value>`. */
  value?: string
  help: string
}

export interface ParsedFlags {
  /** In the order given; a boolean is 'true' or 'false'. */
  given: { name: string; value: string }[]
  /** What follows the flags. */
  rest: string[]
  mistakes: string[]
}

/** Never throws: mistakes are collected. A lone `--`, or the first word that is no flag, ends the flags. */
export function parseFlags(words: readonly string[], flags: readonly Flag[]): ParsedFlags {
  const known = new Map(flags.map((flag) => [flag.name, flag]))
  const parsed: ParsedFlags = { given: [], rest: [], mistakes: [] }
  for (let at = 0; at < words.length; at++) {
    const word = words[at] as string
    const match = /^--?(?<name>[^=-][^=]*)(?:=(?<value>.*))?$/s.exec(word)
    if (match?.groups === undefined) {
      parsed.rest = words.slice(word === '--' ? at + 1 : at)
      break
    }
    const { name, value } = match.groups as { name: string; value?: string }
    const flag = known.get(name)
    if (flag === undefined) parsed.mistakes.push(`flag provided but not defined: -${name}`)
    else if (flag.takes === 'nothing') {
      const truth = truthOf(value ?? 'true')
      if (truth === undefined) parsed.mistakes.push(`-${name}: expected true or false, received "${value}"`)
      else parsed.given.push({ name, value: String(truth) })
    } else if (value !== undefined) parsed.given.push({ name, value })
    else if (at + 1 < words.length) parsed.given.push({ name, value: words[++at] as string })
    else parsed.mistakes.push(`flag needs an argument: -${name}`)
  }
  return parsed
}

/** Go's strconv.ParseBool. */
export function truthOf(text: string): boolean | undefined {
  if (['1', 't', 'T', 'true', 'TRUE', 'True'].includes(text)) return true
  if (['0', 'f', 'F', 'false', 'FALSE', 'False'].includes(text)) return false
  return undefined
}

/** One flag a paragraph, in name order. */
export function flagsHelp(flags: readonly Flag[]): string {
  return [...flags]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, takes, value, help }) => {
      const head = takes === 'nothing' ? `  -${name}` : `  -${name}=<${value ?? 'value'}>`
      return `${head}\n${wrap(help, 68, '     ')}\n`
    })
    .join('\n')
}

function wrap(text: string, width: number, indent: string): string {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(/\s+/)) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line].map((filled) => indent + filled).join('\n')
}
