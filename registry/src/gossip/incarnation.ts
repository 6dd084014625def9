/**
 * Incarnations put what is said of one member in order. They go round, so that none is the last: of a last one, a single
 * forged packet could say what the member can never overrule. Newer is what is less than half the round ahead (RFC 1982).
 */

/** Incarnations are below this. */
export const incarnations = 2 ** 48
const half = incarnations / 2

export function isNewer(one: number, other: number): boolean {
  const steps = ahead(one, other)
  return steps > 0 && steps < half
}

/**
 * What a member at `own` takes to overrule what is said of it at `claimed`; undefined when it need not, for `own` is newer.
 * Never so far that those who know it at `own` would not follow: from there the next time is enough.
 */
export function overruling(own: number, claimed: number): number | undefined {
  const steps = ahead(claimed, own)
  return steps > half ? undefined : (own + Math.min(steps + 1, half - 1)) % incarnations
}

/** How many steps on from the other it is. */
function ahead(one: number, other: number): number {
  return (one - other + incarnations) % incarnations
}
