/** A counter in Redis over ioredis. */
import { Redis } from 'ioredis'
import type { Address } from 'registry/model'
import type { Counter } from './hits.ts'

const key = 'distributed_app:hits'

/** What we use of ioredis, and what ioredis-mock has of it. */
export type RedisConnection = Pick<Redis, 'incr' | 'disconnect'> & {
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'ready', listener: () => void): unknown
}

/** Connects in the background and again whenever the connection is lost, until closed. */
export function connectRedis({ host, port }: Address): Counter {
  return counterIn(
    new Redis({
      host,
      port,
      connectTimeout: 1000,
      commandTimeout: 1000,
      // A hit is counted once or not at all: nothing waits for a connection and nothing is sent a second time.
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      retryStrategy: (attempts) => Math.min(attempts * 100, 1000),
    }),
  )
}

export function counterIn(redis: RedisConnection): Counter {
  let lastError: Error | undefined
  redis.on('error', (error) => {
    lastError = error
  })
  redis.on('ready', () => {
    lastError = undefined
  })
  return {
    async increment() {
      try {
        return await redis.incr(key)
      } catch (error) {
        // "Stream isn't writeable" is true and helps nobody; why there is no connection does.
        throw lastError ?? error
      }
    },
    close: () => redis.disconnect(),
  }
}
