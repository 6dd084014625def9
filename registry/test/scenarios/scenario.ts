/**
 * Scenarios: an ordering of events as text, and what comes of it. A block is commands, `----`, what they print, and an
 * empty line; `#` begins a comment. Run with `REWRITE=1` to write what is printed now, then read the difference.
 *
 *   cluster a b c            empty servers; the first is told that all of them vote; `entriesBytesMax=1` sets an option
 *   fresh d                  an empty server that nobody knows
 *   elect a                  only a's clock moves, until it has won; quiet
 *   tick a 500               only a's clock moves, by steps of 100 ms
 *   settle 500               all clocks move and everything arrives; only news is printed
 *   deliver [a>b …]          what is on the wire arrives, and what that leads to; on these links or on all, `a>b:vote` for
 *                            messages whose type begins so
 *   pass [a>b …]             only what is on the wire now
 *   drop [a>b …]             it is lost
 *   hold [a>b …] | release   it stays out of the way of everything else | it is on the wire again, behind the rest
 *   repeat [a>b …]           it will arrive once more
 *   wire                     what is on the wire
 *   isolate a … | heal       nobody else hears them, nor they anybody | all links work
 *   cut a>b …                nothing arrives this way any more
 *   slow a | save a | fast a    saves wait | those that wait end | saves end at once
 *   crash a | restart a
 *   propose a x y | read a 1 | lease a | transfer a b
 *   add a d learner | add a d voter | promote a d | remove a c     the first server is the one that is asked
 *   snapshot a [keep]        of what it applied; keeps that many entries besides
 *   status [a …]
 */
import assert from 'node:assert/strict'
import { Refused } from '../../src/errors.ts'
import type { ServerChange, ServerId } from '../../src/raft/message.ts'
import { Cluster, describeMessage, type Sent } from './cluster.ts'

/** The text as it should read: commands as they are, outputs as they come out. */
export function play(text: string): string {
  let cluster = new Cluster([])
  const played: string[] = []
  for (const block of text.trimEnd().split(/\n\n+/)) {
    const lines = block.split('\n')
    const end = lines.indexOf('----')
    const commands = end < 0 ? lines : lines.slice(0, end)
    played.push(...commands)
    if (end >= 0) {
      const output: string[] = []
      for (const command of commands) {
        const words = (command.split('#')[0] as string)
          .trim()
          .split(/\s+/)
          .filter((word) => word !== '')
        if (words.length === 0) continue
        if (words[0] === 'cluster') cluster = found(words.slice(1))
        else output.push(...run(cluster, words))
        output.push(...cluster.told())
      }
      played.push('----', ...(output.length === 0 ? ['ok'] : output))
    }
    played.push('')
  }
  return played.join('\n')
}

function found(words: string[]): Cluster {
  const ids = words.filter((word) => !word.includes('='))
  const options = words.filter((word) => word.includes('=')).map((word) => word.split('='))
  const cluster = new Cluster(ids, Object.fromEntries(options.map(([name, value]) => [name, Number(value)])))
  cluster.bootstrap(ids)
  return cluster
}

/** Does what one line says. @returns what is to be printed before the news. */
function run(cluster: Cluster, words: string[]): string[] {
  const [command, ...rest] = words
  const [id = '', ...more] = rest
  switch (command) {
    case 'fresh':
      cluster.add(id)
      return []
    case 'elect':
      cluster.elect(id)
      cluster.told()
      return []
    case 'tick':
      cluster.tick(id, Number(more[0]))
      return []
    case 'settle':
      cluster.settle(Number(id))
      return []
    case 'deliver':
      cluster.deliver(onLinks(rest), (sent) => cluster.say(describeMessage(sent)))
      return []
    case 'pass': {
      const now = new Set(cluster.wire.filter(onLinks(rest)))
      cluster.deliver(
        (sent) => now.has(sent),
        (sent) => cluster.say(describeMessage(sent)),
      )
      return []
    }
    case 'drop':
      return cluster.drop(onLinks(rest)).map((sent) => `lost ${describeMessage(sent)}`)
    case 'hold':
      cluster.hold(onLinks(rest))
      return []
    case 'release':
      cluster.release()
      return []
    case 'repeat':
      cluster.repeat(onLinks(rest))
      return []
    case 'cut':
      cluster.cut(...rest)
      return []
    case 'wire':
      return cluster.wire.map(describeMessage)
    case 'isolate':
      cluster.isolate(...rest)
      return []
    case 'heal':
      cluster.heal()
      return []
    case 'slow':
      cluster.host(id).slowDisk = true
      return []
    case 'fast':
      cluster.host(id).slowDisk = false
      cluster.save(id)
      return []
    case 'save':
      cluster.save(id)
      return []
    case 'crash':
      cluster.crash(id)
      return []
    case 'restart':
      cluster.restart(id)
      return []
    case 'propose':
      return [indexOr(cluster.propose(id, ...more), 'not the leader')]
    case 'read':
      cluster.act(id, (raft) => raft.requestRead(Number(more[0]), cluster.now))
      return []
    case 'lease':
      return [indexOr(cluster.raft(id).leaseIndex(cluster.now), 'no lease')]
    case 'transfer':
      return [cluster.act(id, (raft) => raft.transferLeadership(more[0], cluster.now)) ? 'begun' : 'refused']
    case 'add':
    case 'promote':
    case 'remove':
      return [change(cluster, id, changeOf(command, more))]
    case 'snapshot': {
      const mark = cluster.snapshot(id, Number(more[0] ?? 0))
      return [`snapshot at ${mark.index}/${mark.term}`]
    }
    case 'status':
      return (rest.length === 0 ? [...cluster.hosts.keys()] : rest).map((each) => cluster.describe(each))
    default:
      assert.fail(`there is no command "${command}"`)
  }
}

function onLinks(links: string[]): (sent: Sent) => boolean {
  const wanted = links.map((link) => link.split(/[>:]/))
  return ({ from, to, message }) =>
    links.length === 0 ||
    wanted.some(([one, other, type]) => from === one && to === other && message.type.startsWith(type ?? ''))
}

function indexOr(index: number | undefined, otherwise: string): string {
  return index === undefined ? otherwise : `index ${index}`
}

function changeOf(type: 'add' | 'promote' | 'remove', [id = '', role]: string[]): ServerChange {
  return type === 'add' ? { type, id, address: `${id}:8300`, voter: role === 'voter' } : { type, id }
}

function change(cluster: Cluster, leader: ServerId, wanted: ServerChange): string {
  try {
    return indexOr(
      cluster.act(leader, (raft) => raft.changeServers(wanted)),
      'not now',
    )
  } catch (error) {
    if (error instanceof Refused) return `refused: ${error.message}`
    throw error
  }
}
