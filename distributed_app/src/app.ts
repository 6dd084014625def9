/** What a worker answers over HTTP. Pure: where greeting and count come from is the worker's business. */
import { Hono } from 'hono'
import type { Count } from './hits.ts'

export interface AppSources {
  /** Asked at every request, so that a change shows at once. */
  greeting: () => string
  count: () => Promise<Count>
}

export function createApp(sources: AppSources): Hono {
  const app = new Hono()
  app.get('/', (context) => context.text(sources.greeting()))
  app.get('/health', (context) => context.text('ok'))
  app.get('/hits', async (context) => {
    const count = await sources.count()
    if ('reason' in count) return context.text(`Hits are not counted: ${count.reason}.\n`, 503)
    return context.text(`${count.hits} ${count.hits === 1 ? 'hit' : 'hits'}, counted in Redis at ${count.redis}.\n`)
  })
  return app
}
