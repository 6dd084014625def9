/** `kv get`, `kv put`, `kv delete`: words and exit codes of Consul's command line. */
import type { KvPairShape } from '../client/shapes.ts'
import type { Call, Command } from './command.ts'
import type { Flag } from './flags.ts'

const datacenterFlag: Flag = {
  name: 'datacenter',
  takes: 'value',
  value: 'name',
  help: "Datacenter whose keys are meant. Default: the agent's.",
}

function elsewhere(given: ReadonlyMap<string, string>): { datacenter?: string } {
  const datacenter = given.get('datacenter') ?? ''
  return datacenter === '' ? {} : { datacenter }
}

export const kvGet: Command = {
  name: 'kv get',
  usage: 'kv get [options] [KEY_OR_PREFIX]',
  summary: 'Shows the value of a key, or keys and values under a prefix',
  failing: 'Error querying Consul agent',
  flags: [
    { name: 'base64', takes: 'nothing', help: 'Values as base64.' },
    datacenterFlag,
    { name: 'detailed', takes: 'nothing', help: 'Indexes and flags as well.' },
    { name: 'keys', takes: 'nothing', help: 'Names only, folded at the separator.' },
    { name: 'recurse', takes: 'nothing', help: 'Every key that begins with the given text.' },
    { name: 'separator', takes: 'value', help: 'Where -keys folds names. Default: /' },
    { name: 'stale', takes: 'nothing', help: 'Any agent may answer from what it has.' },
  ],
  async run(call: Call) {
    const { client, given, rest, out, err, raw } = call
    const is = (flag: string) => given.get(flag) === 'true'
    const options = { stale: is('stale'), ...elsewhere(given) }
    if (rest.length > 1) return tooMany(call, '1')
    const key = (rest[0] ?? '').replace(/^\//, '')
    if (is('keys')) {
      const { value } = await client.kv.keys(key, given.get('separator') ?? '/', options)
      for (const name of value) out(name)
      return 0
    }
    const format = is('base64') ? (pair: KvPairShape) => Buffer.from(pair.Value ?? '') : bytesOf
    if (is('recurse')) {
      const { value } = await client.kv.list(key, options)
      for (const [at, pair] of value.entries()) {
        if (is('detailed')) {
          if (at > 0) out('')
          for (const line of detailed(pair, is('base64'))) out(line)
        } else raw(Buffer.concat([Buffer.from(`${pair.Key}:`), format(pair), Buffer.from('\n')]))
      }
      return 0
    }
    if (key === '') {
      err('Error! Missing KEY argument')
      return 1
    }
    const { value: pair } = await client.kv.get(key, options)
    if (pair === undefined) {
      err(`Error! No key exists at: ${key}`)
      return 1
    }
    if (is('detailed')) for (const line of detailed(pair, is('base64'))) out(line)
    else raw(Buffer.concat([format(pair), Buffer.from('\n')]))
    return 0
  },
}

export const kvPut: Command = {
  name: 'kv put',
  usage: 'kv put [options] KEY [DATA]',
  summary: 'Writes a value; DATA is text, @file, or - for standard input',
  failing: 'Error! Failed writing data',
  flags: [
    { name: 'acquire', takes: 'nothing', help: 'Take the lock on the key for -session.' },
    { name: 'base64', takes: 'nothing', help: 'DATA is base64.' },
    { name: 'cas', takes: 'nothing', help: 'Only if the key is still at -modify-index.' },
    datacenterFlag,
    { name: 'flags', takes: 'value', help: 'An unsigned number to keep with the value.' },
    { name: 'modify-index', takes: 'value', help: 'For -cas; 0 is "only if there is no such key".' },
    { name: 'release', takes: 'nothing', help: 'Let go of the lock that -session holds.' },
    { name: 'session', takes: 'value', help: 'For -acquire and -release: the id of a session.' },
  ],
  async run(call: Call) {
    const { client, given, rest, out, err, read } = call
    const [key, data = ''] = rest
    if (key === undefined) {
      err('Error! Missing KEY argument')
      return 1
    }
    if (rest.length > 2) return tooMany(call, '1 or 2')
    const cas = given.get('cas') === 'true'
    const modifyIndex = given.get('modify-index')
    // As Consul has it: who says both takes it.
    const lock = given.get('acquire') === 'true' ? 'acquire' : given.get('release') === 'true' ? 'release' : undefined
    const session = given.get('session') ?? ''
    if (lock !== undefined && session === '') {
      err('Error! Missing -session (required with -acquire and -release)')
      return 1
    }
    if (cas && modifyIndex === undefined) {
      err('Must specify -modify-index with -cas!')
      return 1
    }
    if (modifyIndex !== undefined && !/^\d+$/.test(modifyIndex)) {
      err(`Error! -modify-index: expected a whole number, received "${modifyIndex}"`)
      return 1
    }
    let value: Uint8Array = Buffer.from(data)
    if (data === '-' || data.startsWith('@')) value = await read(data === '-' ? '-' : data.slice(1))
    if (given.get('base64') === 'true') {
      const text = Buffer.from(value).toString().trim()
      if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text)) {
        err('Error! Cannot base 64 decode data: expected standard base64 with padding')
        return 1
      }
      value = Buffer.from(text, 'base64')
    }
    const flags = given.get('flags')
    const done = await client.kv.put(key.replace(/^\//, ''), new Uint8Array(value), {
      ...elsewhere(given),
      ...(flags === undefined ? {} : { flags }),
      ...(cas ? { cas: Number(modifyIndex) } : lock === undefined ? {} : { [lock]: session }),
    })
    if (lock !== undefined && !cas) {
      if (done) out(`Success! Lock ${lock}d on: ${key}`)
      else err(`Error! Did not ${lock} lock`)
      return done ? 0 : 1
    }
    if (!done) {
      err(`Error! Did not write to ${key}: CAS failed`)
      return 1
    }
    out(`Success! Data written to: ${key}`)
    return 0
  },
}

export const kvDelete: Command = {
  name: 'kv delete',
  usage: 'kv delete [options] KEY_OR_PREFIX',
  summary: 'Removes a key, or all keys under a prefix',
  failing: 'Error! Failed deleting',
  flags: [
    { name: 'cas', takes: 'nothing', help: 'Only if the key is still at -modify-index.' },
    datacenterFlag,
    { name: 'modify-index', takes: 'value', help: 'For -cas.' },
    { name: 'recurse', takes: 'nothing', help: 'Every key that begins with the given text.' },
  ],
  async run(call: Call) {
    const { client, given, rest, out, err } = call
    const recurse = given.get('recurse') === 'true'
    const cas = given.get('cas') === 'true'
    const [text] = rest
    if (rest.length > 1) return tooMany(call, '1')
    if (text === undefined && !recurse) {
      err('Error! Missing KEY argument')
      return 1
    }
    const key = (text ?? '').replace(/^\//, '')
    const modifyIndex = given.get('modify-index')
    if (cas && recurse) {
      err('Cannot specify both -cas and -recurse!')
      return 1
    }
    if (!cas && modifyIndex !== undefined) {
      err('Cannot specify -modify-index without -cas!')
      return 1
    }
    if (cas && (modifyIndex === undefined || !/^\d+$/.test(modifyIndex))) {
      err('Must specify -modify-index with -cas!')
      return 1
    }
    const done = await client.kv.delete(key, {
      recurse,
      ...elsewhere(given),
      ...(cas ? { cas: Number(modifyIndex) } : {}),
    })
    if (!done) {
      err(`Error! Did not delete key ${key}: CAS failed`)
      return 1
    }
    out(recurse ? `Success! Deleted keys with prefix: ${key}` : `Success! Deleted key: ${key}`)
    return 0
  },
}

function tooMany({ err, rest }: Call, expected: string): number {
  err(`Error! Too many arguments (expected ${expected}, got ${rest.length})`)
  return 1
}

const bytesOf = (pair: KvPairShape) => Buffer.from(pair.Value ?? '', 'base64')

function detailed(pair: KvPairShape, base64: boolean): string[] {
  const facts = [
    ['CreateIndex', String(pair.CreateIndex)],
    ['Flags', String(pair.Flags)],
    ['Key', pair.Key],
    ['LockIndex', String(pair.LockIndex)],
    ['ModifyIndex', String(pair.ModifyIndex)],
    ['Session', pair.Session ?? '-'],
    ['Value', base64 ? (pair.Value ?? '') : bytesOf(pair).toString()],
  ]
  return facts.map(([name, text]) => `${name?.padEnd(17)}${text}`)
}
