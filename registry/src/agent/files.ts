/**
 * Small JSON documents in the data directory: replaced whole, durable when the promise resolves. With each goes a checksum,
 * for one wrong bit makes another port or another node id, and still JSON. People may write one without it.
 */
import { crc32 } from 'node:zlib'
import { Corrupt } from '../errors.ts'
import type { Disk } from '../io/io.ts'

/** Undefined when the file does not exist. @throws Corrupt when it is not JSON, or not what was written */
export async function loadJson(disk: Disk, file: string): Promise<unknown> {
  const bytes = await disk.read(file)
  if (bytes === undefined) return undefined
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    const reason = (error as Error).message.replaceAll(/\s+/g, ' ')
    throw new Corrupt(`${file} in the data directory is not JSON: ${reason}; restore or remove it`, { cause: error })
  }
  if (value === null || typeof value !== 'object' || !('checksum' in value || 'document' in value)) return value
  const { checksum, document } = value as { checksum?: unknown; document?: unknown }
  if (document === undefined || checksum !== checksumOf(document)) {
    throw new Corrupt(
      `${file} in the data directory fails its checksum: restore or remove it; or, if somebody changed it on purpose, ` +
        'leave in it only what stands behind "document", without that word and "checksum"',
    )
  }
  return document
}

export function saveJson(disk: Disk, file: string, value: unknown): Promise<void> {
  return replaceFile(disk, file, documentText(value))
}

/** What `loadJson` reads. */
export function documentText(value: unknown): string {
  return `${JSON.stringify({ checksum: checksumOf(value), document: value }, null, 1)}\n`
}

/** Written beside and renamed over, so that a crash leaves the old or the new text, never half of one. */
export async function replaceFile(disk: Disk, file: string, text: string): Promise<void> {
  const beside = `${file}.new`
  await disk.remove(beside)
  await disk.write(beside, 0, [new TextEncoder().encode(text)])
  await disk.sync(beside)
  await disk.rename(beside, file)
  await disk.syncFolder(file.includes('/') ? file.slice(0, file.lastIndexOf('/')) : '')
}

/** CRC32 of what the document says, in hexadecimal; how it is laid out does not matter. */
function checksumOf(document: unknown): string {
  return crc32(JSON.stringify(document)).toString(16).padStart(8, '0')
}
