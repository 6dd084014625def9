/**
 * Polls until the answer is something (not undefined, null or false), and gives it. Waits for a state, whatever time that
 * takes within reason; the error says what was waited for and what was seen last.
 */
export async function until<T>(what: string, probe: () => Promise<T> | T, within = 15_000): Promise<NonNullable<T>> {
  const deadline = performance.now() + within
  let last: unknown
  for (;;) {
    try {
      const found = await probe()
      if (found !== undefined && found !== null && (found as unknown) !== false) return found
      last = found
    } catch (error) {
      last = error
    }
    if (performance.now() >= deadline) throw new Error(`waited ${within} ms for ${what}; last seen: ${String(last)}`)
    await new Promise((again) => setTimeout(again, 10))
  }
}
