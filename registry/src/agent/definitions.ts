/** Services and checks that the configuration defines. They are read anew at every start and never kept on disk. */
import type { CheckDefinition } from '../health/definition.ts'
import type { ServiceDefinition } from '../model.ts'

export interface Definitions {
  services: { service: ServiceDefinition; checks: CheckDefinition[] }[]
  /** Of the node, or of a service that is among these or was registered over HTTP. */
  checks: CheckDefinition[]
}

export const noDefinitions: Definitions = { services: [], checks: [] }

/** Which definitions may run programs: those of configuration files, those that came over HTTP. */
export interface ScriptRules {
  files: boolean
  remote: boolean
}
export const noScripts: ScriptRules = { files: false, remote: false }
