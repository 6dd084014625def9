import assert from 'node:assert/strict'
import { Random } from '../io/random.ts'
import type { Coordinate } from '../model.ts'
import { distance, isCoordinate, isCredible, origin, pushed, roundTrip } from './coordinate.ts'

function at(fields: Partial<Coordinate> = {}, ...first: number[]): Coordinate {
  const vector = origin().vector.map((zero, axis) => first[axis] ?? zero)
  return { ...origin(), height: 0.001, vector, ...fields }
}

function near(actual: number, expected: number, what?: string): void {
  assert.ok(Math.abs(actual - expected) < 1e-9, `${what ?? ''} expected ${expected}, received ${actual}`)
}

describe('coordinate', () => {
  it('begins at the origin without any certainty, in the numbers that Consul shows', () => {
    assert.deepEqual(origin(), { vector: [0, 0, 0, 0, 0, 0, 0, 0], error: 1.5, adjustment: 0, height: 0.00001 })
  })

  it('is as far from another as their vectors, both heights and both adjustments make it, in milliseconds', () => {
    near(distance(at({}, 0.03), at({}, 0, 0.04)), 52)
    near(distance(at({ adjustment: 0.001 }, 0.03), at({ adjustment: 0.002 }, 0, 0.04)), 55)
    near(distance(at({ adjustment: -0.02 }, 0.03), at({ adjustment: -0.02 }, 0, 0.04)), 12)
  })

  it('does not count adjustments that would make a round trip negative', () => {
    near(distance(at({ adjustment: -0.1 }, 0.03), at({}, 0, 0.04)), 52)
  })

  it('of several segments: the one that is shared counts, as for who is in one alone, else the unnamed one', () => {
    const segments = (...of: [string, Coordinate][]) => new Map(of)
    const here = at({}, 0.03)
    const there = at({}, 0.05)
    near(roundTrip(segments(['', here]), segments(['', there])) ?? 0, 22)
    near(roundTrip(segments(['x', here]), segments(['', at({}, 1)], ['x', there])) ?? 0, 22)
    near(roundTrip(segments(['', at({}, 1)], ['x', here]), segments(['x', there])) ?? 0, 22)
    near(roundTrip(segments(['', here], ['x', at({}, 1)]), segments(['', there], ['x', at({}, 2)])) ?? 0, 22)
    assert.equal(roundTrip(segments(['x', here]), segments(['', there])), undefined)
    assert.equal(roundTrip(segments(), segments(['', there])), undefined)
  })

  it('is pushed away from another along the line through both, and grows in height with the force', () => {
    const there = at({}, 0.01)
    const away = pushed(at({}, 0.03), there, 0.01, new Random(1))
    near(away.vector[0] as number, 0.04)
    near(away.height, 0.001 + (0.01 * 0.002) / 0.02)
    const nearer = pushed(at({}, 0.03), there, -0.005, new Random(1))
    near(nearer.vector[0] as number, 0.025)
    near(nearer.height, 0.0005)
    near(pushed(at({}, 0.03), there, -0.02, new Random(1)).height, 0.00001, 'never below the least height')
  })

  it('goes apart from one at the same place in any direction, by the force', () => {
    const moved = pushed(origin(), origin(), 0.02, new Random(7))
    near(Math.hypot(...moved.vector), 0.02)
    const other = pushed(origin(), origin(), 0.02, new Random(8))
    assert.notDeepEqual(moved.vector, other.vector)
    assert.equal(moved.height, origin().height)
  })

  const cannotBe: [string, Coordinate][] = [
    ['seven dimensions', { ...origin(), vector: origin().vector.slice(1) }],
    ['nine dimensions', { ...origin(), vector: [...origin().vector, 0] }],
    ['a place that is no number', at({}, Number.NaN)],
    ['an infinite place', at({}, Number.NEGATIVE_INFINITY)],
    ['an error that is no number', at({ error: Number.NaN })],
    ['an infinite adjustment', at({ adjustment: Number.POSITIVE_INFINITY })],
    ['a height that is no number', at({ height: Number.NaN })],
  ]
  for (const [what, coordinate] of cannotBe) {
    it(`is none with ${what}`, () => {
      assert.equal(isCoordinate(coordinate), false)
      assert.equal(isCredible(coordinate), false)
    })
  }

  const incredible: [string, Coordinate][] = [
    ['further out than any round trip that counts', at({}, 9, 9)],
    ['at the end of the numbers', at({}, 1e308, 1e308)],
    ['below ground', at({ height: -0.001 })],
    ['in the clouds', at({ height: 11 })],
    ['adjusted by more than any round trip', at({ adjustment: -11 })],
    ['with a negative error', at({ error: -0.1 })],
    ['with an error above the largest', at({ error: 1.6 })],
  ]
  for (const [what, coordinate] of incredible) {
    it(`is not believed ${what}, though it is one`, () => {
      assert.equal(isCoordinate(coordinate), true)
      assert.equal(isCredible(coordinate), false)
    })
  }
})
