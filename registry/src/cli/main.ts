#!/usr/bin/env node
/** The command line: `registry agent | members | join | leave | force-leave | info | kv … | version`. [door] */
import { readFile } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'
import { runAgent } from './agent.ts'
import type { Command } from './command.ts'
import { connect, connectionFlags } from './connection.ts'
import { event } from './event.ts'
import { type Flag, flagsHelp, parseFlags } from './flags.ts'
import { keygen, keyring } from './keyring.ts'
import { kvDelete, kvGet, kvPut } from './kv.ts'
import { forceLeave, info, join, leave, members, reload } from './members.ts'
import { monitor } from './monitor.ts'
import { getAutopilot, listPeers, removePeer, setAutopilot } from './operator.ts'
import { runRecover } from './recover.ts'
import { rtt } from './rtt.ts'
import { consulVersion, rollcallVersion } from './version.ts'

const commands: readonly Command[] = [
  event,
  forceLeave,
  info,
  join,
  keygen,
  keyring,
  kvDelete,
  kvGet,
  kvPut,
  leave,
  members,
  monitor,
  reload,
  getAutopilot,
  listPeers,
  removePeer,
  setAutopilot,
  rtt,
]

const calledAs = process.env.ROLLCALL_CALLED_AS === 'consul' ? 'consul' : 'registry'

async function main(words: string[]): Promise<number> {
  const [first = 'help', ...rest] = words
  if (first === 'agent') return runAgent(rest, calledAs === 'consul')
  if (first === 'recover') return runRecover(rest)
  if (['version', '-version', '--version', '-v'].includes(first)) {
    console.log(calledAs === 'consul' ? `Consul v${consulVersion}` : `Rollcall v${rollcallVersion}`)
    console.log(`Rollcall v${rollcallVersion} speaks the HTTP API and DNS of Consul v${consulVersion}`)
    return 0
  }
  if (['help', '-help', '--help', '-h'].includes(first)) {
    console.log(usage())
    return 0
  }
  const command = commands.find(({ name }) => `${words.join(' ')} `.startsWith(`${name} `))
  if (command === undefined) {
    const kin = commands.filter(({ name }) => name.startsWith(`${first} `)).map(({ usage }) => usage)
    console.error(kin.length > 0 ? `Usage: ${calledAs} ${kin.join(`\n       ${calledAs} `)}` : usage())
    return kin.length > 0 ? 1 : 127
  }
  return call(command, words.slice(command.name.split(' ').length))
}

async function call(command: Command, words: string[]): Promise<number> {
  const help: Flag = { name: 'help', takes: 'nothing', help: 'Show this.' }
  const parsed = parseFlags(words, [...command.flags, ...connectionFlags, help, { ...help, name: 'h' }])
  const given = new Map(parsed.given.map(({ name, value }) => [name, value]))
  if (given.has('help') || given.has('h')) {
    console.log(`Usage: ${calledAs} ${command.usage}\n\n  ${command.summary}.\n`)
    console.log(flagsHelp([...command.flags, ...connectionFlags]))
    return 0
  }
  if (parsed.mistakes.length > 0) {
    for (const mistake of parsed.mistakes) console.error(mistake)
    console.error(`Usage: ${calledAs} ${command.usage}`)
    return 1
  }
  // Who reads the output has seen enough.
  process.stdout.on('error', () => process.exit(1))
  try {
    return await command.run({
      client: connect(given, process.env),
      given,
      rest: parsed.rest,
      out: (line) => console.log(line),
      err: (line) => console.error(line),
      read: (path) => (path === '-' ? buffer(process.stdin) : readFile(path)),
      raw: (bytes) => process.stdout.write(bytes),
    })
  } catch (error) {
    console.error(`${command.failing ?? 'Error'}: ${(error as Error).message}`)
    return 1
  }
}

function usage(): string {
  const width = Math.max(...commands.map(({ name }) => name.length), 'version'.length) + 4
  const lines = [
    { name: 'agent', summary: 'Runs an agent' },
    ...commands,
    { name: 'recover', summary: 'Lets one server go on alone when the others are lost for good' },
    { name: 'version', summary: 'Shows the version' },
  ].sort((a, b) => (a.name < b.name ? -1 : 1))
  return [
    `Usage: ${calledAs} <command> [-help] [options] [arguments]`,
    '',
    'Commands:',
    ...lines.map(({ name, summary }) => `    ${name.padEnd(width)}${summary}`),
  ].join('\n')
}

process.exitCode = await main(process.argv.slice(2))
// Whatever is still open must not keep a finished command alive.
if (process.stdout.writableLength === 0) process.exit()
process.stdout.once('drain', () => process.exit())
