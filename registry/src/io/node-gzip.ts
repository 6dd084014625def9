/** Compression by zlib, on its own threads. [door] */
import { gzip } from 'node:zlib'

/** Resolves to the bytes in the gzip format (RFC 1952). Rejects when there is no memory for it. */
export function gzipped(body: string | Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    gzip(body, (error, compressed) => (error === null ? resolve(compressed) : reject(error)))
  })
}
