/**
 * What clients asked and were told, and when. Times are one monotonic clock's, in any unit: an operation took effect at
 * some moment between `call` and `return`, both included. One whose outcome nobody knows has no return: it may take
 * effect at any moment after its call, or never. One that certainly did not happen is not part of a history.
 */

export interface Operation<Input, Output> {
  /** Who asked; for people who read the history. */
  client: string
  input: Input
  call: number
  /** Undefined: open; a timeout, a broken connection, an answer that says so. */
  return: number | undefined
  /** Undefined while open. */
  output: Output | undefined
}

/** One call under way. Left alone it stays open. */
export interface Call<Output> {
  returned(output: Output, now: number): void
  /** The caller was told that it certainly did not happen. If it did, a read that saw it has no explanation. */
  refused(): void
}

/** Writes a history down while it happens. */
export class Recorder<Input, Output> {
  readonly #operations = new Set<Operation<Input, Output>>()

  get operations(): Operation<Input, Output>[] {
    return [...this.#operations]
  }

  called(client: string, input: Input, now: number): Call<Output> {
    const operation: Operation<Input, Output> = { client, input, call: now, return: undefined, output: undefined }
    this.#operations.add(operation)
    return {
      returned: (output, at) => {
        operation.return = at
        operation.output = output
      },
      refused: () => {
        this.#operations.delete(operation)
      },
    }
  }
}
