/** The one row that says how autopilot shall behave: absent until the first leader has written what it was started with. */
import type { AutopilotConfiguration, Index, Stamps } from '../model.ts'
import type { Applied } from './command.ts'

export interface AutopilotRow extends AutopilotConfiguration, Stamps {}

export interface AutopilotChange {
  configuration: AutopilotConfiguration
  /** Only if it was last set at this index; never true while there is none. */
  cas?: Index
  /** Only if there is none. */
  initial?: boolean
}

export class Autopilot {
  #row: AutopilotRow | undefined

  constructor(row?: AutopilotRow) {
    this.#row = row
  }

  get row(): AutopilotRow | undefined {
    return this.#row
  }

  set(index: Index, { configuration, cas, initial }: AutopilotChange): Applied {
    const known = this.#row
    if (initial === true && known !== undefined) return { value: false }
    if (cas !== undefined && known?.modifyIndex !== cas) return { value: false }
    this.#row = { ...configuration, createIndex: known?.createIndex ?? index, modifyIndex: index }
    return { value: true }
  }
}
