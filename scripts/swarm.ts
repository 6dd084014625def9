/**
 * A large gossip pool, simulated: thousands of members on a virtual clock and network (`registry/test/gossip/swarm.ts`).
 *
 *   node scripts/swarm.ts [--nodes 1000] [--minutes 10] [--loss 0.05] [--pause MS] [--seed 1]
 *     a pool in which nobody dies: false deaths, and what a member sends. --loss takes a list too, of which each lasts five
 *     minutes; --pause: two in a thousand members are paused each second, for up to so long.
 *   node scripts/swarm.ts --crashes N [--nodes …] [--loss …] [--seed …]
 *     members crash one after the other: how soon 99 % of the others know, and the bound that theory gives
 *   node scripts/swarm.ts --events N [--nodes …] [--loss …] [--seed …]
 *     members fire user events: how soon 99 %, and all, have heard of each
 *   node scripts/swarm.ts --curve 10,30,100,300,1000 [--minutes …] [--loss …]
 *     what a member sends in pools of these sizes
 *
 * Exit code 1: somebody was taken for dead who was not, a crash was known later than the bound says, a user event was
 * reported twice, or a datagram would not fit.
 */
import { parseArgs } from 'node:util'
import { lanConfig, wanConfig } from '../registry/src/gossip/gossip.ts'
import { datagramLengthMax } from '../registry/src/gossip/message.ts'
import { crashBound, crashes, type Peace, peace, spread } from '../registry/test/gossip/swarm-runs.ts'

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '1000' },
    minutes: { type: 'string', default: '10' },
    loss: { type: 'string', default: '0.05' },
    pause: { type: 'string', default: '0' },
    seed: { type: 'string', default: '1' },
    crashes: { type: 'string' },
    curve: { type: 'string' },
    events: { type: 'string' },
    preset: { type: 'string', default: 'lan' },
  },
})

const nodes = Number(values.nodes)
const seed = Number(values.seed)
const span = Number(values.minutes) * 60_000
const losses = values.loss.split(',').map(Number)
const loss = losses[0] as number
const pauseMax = Number(values.pause)
const config = values.preset === 'wan' ? wanConfig : lanConfig
const seconds = (span: number) => `${(span / 1_000).toFixed(1)} s`
let failed = false

if (values.curve !== undefined) curve(values.curve.split(',').map(Number))
else if (values.events !== undefined) tell(Number(values.events))
else if (values.crashes !== undefined) crash(Number(values.crashes))
else live()
const { user, system } = process.cpuUsage()
console.log(
  `processor ${((user + system) / 1e6).toFixed(0)} s, resident ${Math.round(process.memoryUsage().rss / 2 ** 20)} MiB`,
)
process.exitCode = failed ? 1 : 0

function live(): void {
  const onMinute = (minute: number, soFar: Peace) => {
    if (minute % 5 === 0) console.log(`  ${minute} min: ${peaceText(soFar)}`)
  }
  console.log(
    `${nodes} members, ${span / 60_000} simulated minutes, loss ${losses.map((each) => `${each * 100} %`).join(', ')}, ` +
      `pauses up to ${pauseMax} ms, seed ${seed}`,
  )
  const result = peace({ nodes, seed, losses, span, pauseMax, config, onMinute })
  console.log(peaceText(result))
  for (const one of result.first) console.log(`  ${one}`)
  check(result.falseDeaths === 0, result.largestDatagram)
}

function peaceText(result: Peace): string {
  const { falseDeaths, pauses, suspicions } = result
  return (
    `${falseDeaths} false deaths, ${pauses} pauses, ${(suspicions / nodes).toFixed(1)} suspicions; a member sends a second ` +
    `${result.datagrams.toFixed(2)} datagrams (${result.datagramBytes.toFixed(0)} B) and ${result.frames.toFixed(3)} ` +
    `frames (${result.frameBytes.toFixed(0)} B); largest datagram ${result.largestDatagram} B with encryption`
  )
}

function curve(sizes: number[]): void {
  console.log(`loss ${loss * 100} %, ${span / 60_000} simulated minutes each, seed ${seed}; for one member and second:`)
  console.log('| members | datagrams | bytes in datagrams | frames | bytes in frames | all bytes | false deaths |')
  console.log('|---|---|---|---|---|---|---|')
  for (const size of sizes) {
    const result = peace({ nodes: size, seed, loss, span, pauseMax, config })
    const { datagrams, datagramBytes, frames, frameBytes } = result
    const numbers = [datagrams.toFixed(2), datagramBytes.toFixed(0), frames.toFixed(3), frameBytes.toFixed(0)]
    const all = (datagramBytes + frameBytes).toFixed(0)
    console.log(`| ${size} | ${numbers.join(' | ')} | ${all} | ${result.falseDeaths} |`)
    check(result.falseDeaths === 0, result.largestDatagram)
  }
}

function crash(count: number): void {
  const { mean, bound, parts } = crashBound(config, nodes, loss)
  const result = crashes({ nodes, seed, loss, config, crashes: count })
  const sorted = result.most.toSorted((a, b) => a - b)
  const firsts = result.first.toSorted((a, b) => a - b)
  const at = (list: number[], share: number) => seconds(list[Math.ceil(share * (list.length - 1))] as number)
  const average = (list: number[]) => seconds(list.reduce((sum, one) => sum + one, 0) / list.length)
  console.log(`${nodes} members, loss ${loss * 100} %, ${count} crashes, seed ${seed}`)
  console.log(`  first to know: mean ${average(firsts)}, longest ${at(firsts, 1)}`)
  console.log(`  99 % know:     mean ${average(sorted)}, median ${at(sorted, 0.5)}, longest ${at(sorted, 1)}`)
  const named = Object.entries(parts).map(([name, part]) => `${name} ${seconds(part)}`)
  console.log(`  theory:        mean ${seconds(mean)}, 99 % of crashes within ${seconds(bound)} (${named.join(', ')})`)
  const late = sorted.filter((took) => took > bound).length
  console.log(`  later than the bound: ${late} of ${count}; false deaths: ${result.falseDeaths}`)
  check(result.falseDeaths === 0 && late <= Math.max(1, 0.03 * count), result.largestDatagram)
}

function tell(count: number): void {
  const result = spread({ nodes, seed, loss, config, events: count })
  const at = (list: number[], share: number) =>
    seconds(list.toSorted((a, b) => a - b)[Math.ceil(share * (count - 1))] as number)
  console.log(`${nodes} members, loss ${loss * 100} %, ${count} user events, seed ${seed}`)
  console.log(`  99 % have it: median ${at(result.most, 0.5)}, longest ${at(result.most, 1)}`)
  console.log(
    `  all have it:  median ${at(result.all, 0.5)}, longest ${at(result.all, 1)}; reported twice: ${result.twice}`,
  )
  check(result.twice === 0, result.largestDatagram)
}

function check(good: boolean, largestDatagram: number): void {
  if (!good || largestDatagram > datagramLengthMax) failed = true
}
