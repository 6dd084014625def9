/**
 * Points in a space whose distances estimate round trips: Vivaldi (Dabek, Cox, Kaashoek, Morris 2004) with heights, in as
 * many dimensions and with the constants that Serf gives it, so that what Consul's clients read here means the same.
 * Pure functions on `Coordinate`, whose numbers are seconds; `vivaldi.ts` moves one of them by what it measures.
 */
import type { Random } from '../io/random.ts'
import type { Coordinate, Millis } from '../model.ts'

/** Beyond seven, more dimensions do not help (Ledlie, Gardner, Seltzer 2007). */
export const dimensions = 8
/** Of a node that has measured nothing; no error counts for more. */
export const errorMax = 1.5
/** In seconds: nobody is nearer to the network than this. */
export const heightMin = 1e-5
/** In seconds. What took longer says nothing about where anybody is (Serf). */
export const roundTripMax = 10
/** Two points nearer than a microsecond are one. */
const samePoint = 1e-6

/** Where everybody begins. */
export function origin(): Coordinate {
  return { vector: new Array<number>(dimensions).fill(0), error: errorMax, adjustment: 0, height: heightMin }
}

/** Eight dimensions and nothing that is not a number: distances to it can be computed (what Consul asks of one). */
export function isCoordinate({ vector, error, adjustment, height }: Coordinate): boolean {
  return vector.length === dimensions && [...vector, error, adjustment, height].every(Number.isFinite)
}

/**
 * Whether a member can have come to this place by measuring: whoever says so of itself is believed. Nobody is further out
 * than the longest round trip that counts, or below ground.
 */
export function isCredible(coordinate: Coordinate): boolean {
  const { vector, error, adjustment, height } = coordinate
  if (!isCoordinate(coordinate)) return false
  const within = length(vector) <= roundTripMax && Math.abs(adjustment) <= roundTripMax
  return within && height >= heightMin && height <= roundTripMax && error >= 0 && error <= errorMax
}

/**
 * The round trip between two nodes as their places have it, in milliseconds. Adjustments that would make it negative do not
 * count.
 */
export function distance(a: Coordinate, b: Coordinate): Millis {
  const plain = plainDistance(a, b)
  const adjusted = plain + a.adjustment + b.adjustment
  return 1000 * (adjusted > 0 ? adjusted : plain)
}

/** What a node said in each network segment it is in; '' where there are none. */
export type BySegment = ReadonlyMap<string, Coordinate>

/**
 * The round trip between two nodes in the segment they share: that of whoever is in one alone, else the unnamed one (Consul).
 * Undefined: there is none.
 */
export function roundTrip(a: BySegment, b: BySegment): Millis | undefined {
  const only = [b, a].find(({ size }) => size === 1)
  const segment = only === undefined ? '' : ([...only.keys()][0] ?? '')
  const [from, to] = [a.get(segment), b.get(segment)]
  return from === undefined || to === undefined ? undefined : distance(from, to)
}

/** Without adjustments; in seconds. */
export function plainDistance(a: Coordinate, b: Coordinate): number {
  return length(difference(a.vector, b.vector)) + a.height + b.height
}

/**
 * Pushed away from another point by `force` seconds, or drawn to it when that is negative. Two that are at the same place go
 * apart in any direction.
 */
export function pushed(from: Coordinate, other: Coordinate, force: number, random: Random): Coordinate {
  const apart = difference(from.vector, other.vector)
  const gap = length(apart)
  const together = gap <= samePoint
  const [direction, scale] = together ? [anyDirection(random), 1] : [apart, 1 / gap]
  const vector = from.vector.map((each, axis) => each + (direction[axis] as number) * scale * force)
  // Vivaldi §5.4: what does not fit on the plane goes into the heights, in proportion.
  const height = together ? from.height : from.height + (force * (from.height + other.height)) / gap
  return { ...from, vector, height: Math.max(height, heightMin) }
}

/** Of length 1. Drawn from a cube, and again in the unlikely case that it is next to the middle. */
function anyDirection(random: Random): number[] {
  for (;;) {
    const drawn = Array.from({ length: dimensions }, () => random.fraction() - 0.5)
    const size = length(drawn)
    if (size > samePoint) return drawn.map((each) => each / size)
  }
}

function difference(a: readonly number[], b: readonly number[]): number[] {
  return a.map((each, axis) => each - (b[axis] ?? 0))
}

function length(vector: readonly number[]): number {
  let sum = 0
  for (const each of vector) sum += each * each
  return Math.sqrt(sum)
}
