/** This machine, as the configuration asks for it. [door] */
import { lookup } from 'node:dns/promises'
import { readdirSync, readFileSync } from 'node:fs'
import { hostname, networkInterfaces } from 'node:os'
import type { Machine } from './config.ts'

export const machine: Machine = {
  hostname,
  readFile: (path) => readFileSync(path, 'utf8'),
  readFolder: (path) => readdirSync(path),
  addresses: () =>
    Object.entries(networkInterfaces()).flatMap(([name, addresses]) =>
      (addresses ?? []).filter(({ internal }) => !internal).map(({ address }) => ({ interface: name, address })),
    ),
}

/** All addresses of a name, as this machine knows it (/etc/hosts, then DNS). Rejects with the system's error. */
export async function resolveHost(host: string): Promise<string[]> {
  const found = await lookup(host, { all: true, verbatim: true })
  return [...new Set(found.map(({ address }) => address))]
}
