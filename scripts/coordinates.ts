/**
 * How soon network coordinates tell how far members are, on simulated networks:
 *
 *   node scripts/coordinates.ts [--members 50] [--minutes 20] [--seed 1]
 *
 * A plane: members all over a square of 100 ms, each 1 to 5 ms from the network. Sites: three, with 0.4 ms within each and
 * 20, 35 and 50 ms between them. Both with a tenth of noise, and one round trip in a hundred is held up for 200 ms. Every member
 * is a whole one, which probes another once a second. Prints how far estimates are off, relative to the true round trip: the
 * median of all pairs, and what nine of ten are below; and for sites how many members see all the near before all the far.
 */
import { parseArgs } from 'node:util'
import { distance } from '../registry/src/gossip/coordinate.ts'
import { Random } from '../registry/src/io/random.ts'
import type { Millis } from '../registry/src/model.ts'
import { Pool, type Process } from '../registry/test/gossip/pool.ts'

const { values } = parseArgs({
  options: {
    members: { type: 'string', default: '50' },
    minutes: { type: 'string', default: '20' },
    seed: { type: 'string', default: '1' },
  },
})
const members = Number(values.members)
const minutes = Number(values.minutes)
const seed = Number(values.seed)

type RoundTrip = (a: number, b: number) => Millis

function plane(): RoundTrip {
  const random = new Random(seed)
  const draw = () => ({ x: 100 * random.fraction(), y: 100 * random.fraction(), access: 1 + 4 * random.fraction() })
  const places = Array.from({ length: members }, draw)
  return (a, b) => {
    const from = places[a] as ReturnType<typeof draw>
    const to = places[b] as ReturnType<typeof draw>
    return Math.hypot(from.x - to.x, from.y - to.y) + from.access + to.access
  }
}

const sites: RoundTrip = (a, b) => ({ '01': 20, '02': 35, '12': 50 })[[a % 3, b % 3].sort().join('')] ?? 0.4

const numberOf = ({ name }: Process) => Number(name.slice(1)) - 1

function run(network: string, roundTrip: RoundTrip): void {
  const pool = new Pool(seed, { weather: { delay: [0, 0] } })
  const noise = new Random(seed + 1)
  pool.way = (from, to) => {
    const half = roundTrip(numberOf(from), numberOf(to)) / 2
    return half * (0.9 + 0.2 * noise.fraction()) + (noise.chance(0.005) ? 200 : 0)
  }
  const processes = pool.startJoined(members)
  for (let minute = 1; minute <= minutes; minute++) {
    pool.run(60_000)
    if (![1, 2, 5, 10, 20, 60].includes(minute) && minute !== minutes) continue
    const errors: number[] = []
    let sorted = 0
    for (const a of processes) {
      const order: { estimated: Millis; actual: Millis }[] = []
      for (const b of processes) {
        if (a === b) continue
        const actual = roundTrip(numberOf(a), numberOf(b))
        const estimated = distance(a.gossip.coordinate, b.gossip.coordinate)
        order.push({ estimated, actual })
        errors.push(Math.abs(estimated - actual) / actual)
      }
      order.sort((one, other) => one.estimated - other.estimated)
      if (order.every(({ actual }, at) => at === 0 || actual >= (order[at - 1]?.actual ?? 0))) sorted++
    }
    errors.sort((one, other) => one - other)
    const share = (part: number) => `${(100 * (errors[Math.floor(errors.length * part)] ?? 0)).toFixed(1)} %`
    const order = network === 'sites' ? `; ${sorted} of ${members} have the right order` : ''
    console.log(
      `${network}, ${minute} min: median off by ${share(0.5)}, nine of ten by less than ${share(0.9)}${order}`,
    )
  }
}

run('plane', plane())
run('sites', sites)
