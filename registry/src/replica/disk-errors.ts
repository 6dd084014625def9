/** What the system's errors mean for whoever runs this server, and what to do. */

const advice: Record<string, string> = {
  ENOSPC: 'the disk of the data directory is full. Nothing acknowledged is lost: make room, and start the agent again',
  EDQUOT:
    'the disk quota of the data directory is used up. Nothing acknowledged is lost: raise it, and start the agent again',
  EROFS: 'the data directory is on a file system that is read-only. Mount it for writing, and start the agent again',
  EACCES: 'this user may not use a file of the data directory. Give it to this user, and start the agent again',
  EPERM: 'this user may not use a file of the data directory. Give it to this user, and start the agent again',
  EIO:
    'the disk of the data directory failed. Nothing acknowledged is lost if it can be read again: start the agent again; ' +
    'if it fails there, too, exchange the disk and start with an empty data directory, and the other servers bring the data',
}

/** The same error, with a message that says what to do when the disk is the cause; its `code` stays. */
export function explained(error: unknown): Error {
  if (!(error instanceof Error)) return new Error(String(error))
  const { code } = error as NodeJS.ErrnoException
  const words = code === undefined ? undefined : advice[code]
  return words === undefined
    ? error
    : Object.assign(new Error(`${words} (${error.message})`, { cause: error }), { code })
}
