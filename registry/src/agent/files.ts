/** Small JSON documents in the data directory: replaced whole, durable when the promise resolves. */
import { Corrupt } from '../errors.ts'
import type { Disk } from '../io/io.ts'

/** Undefined when the file does not exist. @throws Corrupt when it is not JSON */
export async function loadJson(disk: Disk, file: string): Promise<unknown> {
  const bytes = await disk.read(file)
  if (bytes === undefined) return undefined
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    throw new Corrupt(`${file} in the data directory is not JSON: ${(error as Error).message}; restore or remove it`, {
      cause: error,
    })
  }
}

/** Written beside and renamed over, so that a crash leaves the old or the new document, never half of one. */
export async function saveJson(disk: Disk, file: string, value: unknown): Promise<void> {
  const beside = `${file}.new`
  await disk.remove(beside)
  await disk.write(beside, 0, [new TextEncoder().encode(`${JSON.stringify(value, null, 1)}\n`)])
  await disk.sync(beside)
  await disk.rename(beside, file)
  await disk.syncFolder(file.includes('/') ? file.slice(0, file.lastIndexOf('/')) : '')
}
