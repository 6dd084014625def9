/**
 * Where damaged files go: `raft/damaged/N/`, N counting up. They are renamed, never removed: what still can be read of
 * them may one day be all there is. Nothing here is ever read again by the program.
 */
import type { Disk } from '../io/io.ts'
import { bookmarkFile } from './bookmark.ts'

export const walFolder = 'raft/wal'
export const snapshotFolder = 'raft/snapshots'
const damagedFolder = 'raft/damaged'

/** Durable when this resolves. Returns the folder that holds them now. */
export async function setAside(disk: Disk, files: readonly string[]): Promise<string> {
  const numbers = (await disk.list(damagedFolder)).map(Number).filter(Number.isInteger)
  const folder = `${damagedFolder}/${Math.max(0, ...numbers) + 1}`
  for (const file of files) await disk.rename(file, `${folder}/${nameOf(file)}`)
  await disk.syncFolder(folder)
  for (const from of new Set(files.map(folderOf))) await disk.syncFolder(from)
  return folder
}

/**
 * Everything this server holds of a log, so that the next start finds none. For a server that comes back under another id:
 * under its own it would be taken for one that still has what it acknowledged and remembers whom it voted for.
 */
export async function setLogAside(disk: Disk): Promise<string> {
  const files: string[] = []
  for (const folder of [snapshotFolder, walFolder]) {
    for (const name of await disk.list(folder)) files.push(`${folder}/${name}`)
  }
  // The next log begins anew, and must not be measured by how far this one was.
  if ((await disk.read(bookmarkFile)) !== undefined) files.push(bookmarkFile)
  return setAside(disk, files)
}

function nameOf(file: string): string {
  return file.slice(file.lastIndexOf('/') + 1)
}

function folderOf(file: string): string {
  return file.slice(0, file.lastIndexOf('/'))
}
