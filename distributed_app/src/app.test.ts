import assert from 'node:assert/strict'
import { createApp } from './app.ts'
import type { Count } from './hits.ts'

const appWith = (count: Count, greeting = () => 'Hello World!') =>
  createApp({ greeting, count: () => Promise.resolve(count) })

describe('the application', () => {
  it('greets with what the configuration says at the moment', async () => {
    let greeting = 'Hello World!'
    const app = appWith({ reason: '' }, () => greeting)
    assert.equal(await (await app.request('/')).text(), 'Hello World!')
    greeting = 'Guten Tag'
    assert.equal(await (await app.request('/')).text(), 'Guten Tag')
  })

  it('is healthy when it answers', async () => {
    assert.equal((await appWith({ reason: '' }).request('/health')).status, 200)
  })

  it('says how often it was hit, and where that is kept', async () => {
    const answer = await appWith({ hits: 3, redis: '10.0.77.17:10000' }).request('/hits')
    assert.equal(answer.status, 200)
    assert.equal(await answer.text(), '3 hits, counted in Redis at 10.0.77.17:10000.\n')
    const first = await appWith({ hits: 1, redis: 'r:1' }).request('/hits')
    assert.equal(await first.text(), '1 hit, counted in Redis at r:1.\n')
  })

  it('says why nothing is counted, with a status that says so too', async () => {
    const answer = await appWith({ reason: 'no Redis is registered in Consul' }).request('/hits')
    assert.equal(answer.status, 503)
    assert.equal(await answer.text(), 'Hits are not counted: no Redis is registered in Consul.\n')
  })
})
