/**
 * `registry recover`: the way out when a majority of the servers is gone for good. Shows what will be done with the log in
 * a data directory, and does it only after a yes. The agent must be stopped. [door]
 */
import { createInterface } from 'node:readline/promises'
import { openNodeFile } from '../agent/node-file.ts'
import { BadRequest } from '../errors.ts'
import { addressText, parseAddress } from '../io/address.ts'
import type { Log } from '../io/io.ts'
import { openIo } from '../io/node.ts'
import { planAlone, recover, recoveryWords } from '../replica/recovery.ts'
import { Store } from '../store/store.ts'
import { type Flag, flagsHelp, parseFlags } from './flags.ts'

const flags: readonly Flag[] = [
  { name: 'data-dir', takes: 'value', value: 'path', help: 'The data directory of the server that goes on. Required.' },
  {
    name: 'advertise',
    takes: 'value',
    value: 'address',
    help: 'Where others will reach this server, host:port of its server port. Default: as the cluster knew it.',
  },
  { name: 'yes', takes: 'nothing', help: 'Do it without asking.' },
  { name: 'help', takes: 'nothing', help: 'Show this.' },
  { name: 'h', takes: 'nothing', help: 'Show this.' },
]

/** Resolves to the exit code: 0 done, 1 refused or not possible. */
export async function runRecover(words: readonly string[]): Promise<number> {
  const parsed = parseFlags(words, flags)
  const given = new Map(parsed.given.map(({ name, value }) => [name, value]))
  if (given.has('help') || given.has('h')) {
    console.log('Usage: registry recover -data-dir=<path> [options]\n')
    console.log(
      '  Lets one server go on alone when a majority of the servers is lost for good. Stop its agent first.\n',
    )
    console.log(flagsHelp(flags))
    return 0
  }
  const dataDir = given.get('data-dir')
  const mistakes = [...parsed.mistakes, ...parsed.rest.map((word) => `unexpected argument: ${word}`)]
  if (dataDir === undefined) mistakes.push('-data-dir is required: the folder the agent keeps its state in')
  if (dataDir === undefined || mistakes.length > 0) {
    for (const mistake of mistakes) console.error(mistake)
    return 1
  }
  try {
    return await recoverIn(dataDir, given.get('advertise'), given.get('yes') === 'true')
  } catch (error) {
    console.error(`Error: ${(error as Error).message}`)
    return 1
  }
}

async function recoverIn(dataDir: string, advertise: string | undefined, agreed: boolean): Promise<number> {
  const log: Log = (level, _area, message) => {
    if (level === 'warn' || level === 'error') console.error(message)
  }
  const io = await openIo({ dataDir, listen: { rpc: undefined, lan: undefined, wan: undefined }, log })
  try {
    await io.disk.lock()
    const nodeFile = await openNodeFile(io, undefined)
    if (nodeFile.fresh) throw new BadRequest(`${dataDir} is not the data directory of any agent`)
    const address = advertise === undefined ? '' : addressText(parseAddress(advertise, 8300))
    const plan = await planAlone(io, nodeFile.id, address)
    console.log('This is what will be done:')
    for (const line of recoveryWords(plan)) console.log(`  - ${line}`)
    if (!agreed && !(await saidYes())) {
      console.log('Nothing was done.')
      return 1
    }
    await recover(io, new Store(), plan)
    await nodeFile.keepCluster(plan.next.cluster, 1)
    await nodeFile.flush()
    console.log('Done. Start the agent as before; then start the others, with their data directories emptied.')
    return 0
  } finally {
    await io.close()
  }
}

async function saidYes(): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stdout })
  const gone = new Promise<string>((resolve) => terminal.once('close', () => resolve('')))
  const answer = await Promise.race([terminal.question('Type "yes" to do it: '), gone])
  terminal.close()
  return answer.trim() === 'yes'
}
