/**
 * Finds out where we are: every answer to a ping says where its sender is and how long the way there and back was, and moves
 * us a little towards the place that explains it (Vivaldi, with what Serf adds: a filter against single bad round trips, an
 * adjustment for what no place can explain (Lee et al. 2010), and gravity against drifting away together).
 */
import type { Random } from '../io/random.ts'
import type { Coordinate, Millis } from '../model.ts'
import { distance, errorMax, isCredible, origin, plainDistance, pushed, roundTripMax } from './coordinate.ts'
import { LatencyFilter } from './latency.ts'

/** How much one measurement can change our error, and our place (Dabek's ce and cc). */
const errorTuning = 0.25
const placeTuning = 0.25
/** Over this many measurements the adjustment is an average. */
const adjustmentWindow = 20
/** In seconds: at this distance from the origin gravity pulls by a second, and elsewhere by the square of the ratio. */
const gravityRadius = 150
/** In seconds: a shorter round trip counts as this long. */
const roundTripMin = 1e-6
/** Two who are surer than this together share what is between them by it: nothing is divided by nothing. */
const errorsMin = 1e-6

export class Vivaldi {
  readonly #random: Random
  readonly #latency = new LatencyFilter()
  /** Where others were when they last answered. */
  readonly #others = new Map<string, Coordinate>()
  #own: Coordinate = origin()
  /** What the last measurements were off by; empty places are 0. In seconds. */
  #misses: number[] = []

  constructor(random: Random) {
    this.#random = random
  }

  /** Where we are. Replaced, never changed, by what is measured later. */
  get own(): Coordinate {
    return this.#own
  }

  /** Where a member was when it last answered us; undefined when it never did. */
  of(member: string): Coordinate | undefined {
    return this.#others.get(member)
  }

  /**
   * A member answered from `there`, and the way there and back took `roundTrip`. False: one of the two cannot be; nothing was
   * learned.
   */
  observe(member: string, there: Coordinate, roundTrip: Millis): boolean {
    if (!isCredible(there) || !(roundTrip >= 0 && roundTrip <= 1000 * roundTripMax)) return false
    const seconds = Math.max(this.#latency.add(member, roundTrip / 1000), roundTripMin)
    this.#others.set(member, there)
    this.#move(there, seconds)
    this.#adjust(there, seconds)
    this.#gravitate()
    // Nobody would believe us there: lies, or a bad sum, have led us astray.
    if (!isCredible(this.#own)) {
      this.#own = origin()
      this.#misses = []
    }
    return true
  }

  /** The members who are `gone`. */
  forget(gone: (member: string) => boolean): void {
    this.#latency.forget(gone)
    for (const member of this.#others.keys()) if (gone(member)) this.#others.delete(member)
  }

  /** Dabek 2004, figure 3: who is sure of itself moves little, and more because of those who are sure of themselves. */
  #move(there: Coordinate, seconds: number): void {
    const expected = distance(this.#own, there) / 1000
    const weight = this.#own.error / Math.max(this.#own.error + there.error, errorsMin)
    const miss = Math.abs(expected - seconds) / seconds
    const error = Math.min(miss * errorTuning * weight + this.#own.error * (1 - errorTuning * weight), errorMax)
    const moved = pushed(this.#own, there, placeTuning * weight * (seconds - expected), this.#random)
    this.#own = { ...moved, error }
  }

  #adjust(there: Coordinate, seconds: number): void {
    this.#misses = [...this.#misses, seconds - plainDistance(this.#own, there)].slice(-adjustmentWindow)
    const sum = this.#misses.reduce((total, miss) => total + miss, 0)
    this.#own = { ...this.#own, adjustment: sum / (2 * adjustmentWindow) }
  }

  #gravitate(): void {
    const out = distance(origin(), this.#own) / 1000
    this.#own = pushed(this.#own, origin(), -((out / gravityRadius) ** 2), this.#random)
  }
}
