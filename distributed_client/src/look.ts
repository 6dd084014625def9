/** Asks the registry and DNS once. Takes both as they come from the door, so it runs anywhere. */
import type { Client } from 'registry/client'
import { type Report, reportOf } from './report.ts'

/** Addresses of a name; empty when the name has none or does not exist. Rejects when no server answered. */
export type Resolve = (name: string) => Promise<string[]>

/** @throws Unreachable or UnexpectedAnswer when the registry gave no answer; DNS failing is part of the report. */
export async function look(client: Client, resolve: Resolve, service: string): Promise<Report> {
  const [catalog, resolved] = await Promise.all([
    client.catalog.service(service, { stale: true }),
    resolve(`${service}.service.consul`).catch((error: Error) => error),
  ])
  return reportOf(service, catalog.value, resolved)
}
