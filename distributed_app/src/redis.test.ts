import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { counterIn } from './redis.ts'

/** As ioredis without an offline queue: what is asked while there is no connection is refused at once. */
class Connection extends EventEmitter {
  answer: number | Error = new Error("Stream isn't writeable and enableOfflineQueue options is false")
  async incr(): Promise<number> {
    if (this.answer instanceof Error) throw this.answer
    return this.answer
  }
  disconnect(): void {}
}

describe('counterIn', () => {
  it('says why there is no connection', async () => {
    const connection = new Connection()
    const counter = counterIn(connection)
    await assert.rejects(counter.increment(), /Stream isn't writeable/)
    connection.emit('error', new Error('connect ECONNREFUSED 10.0.77.17:10000'))
    await assert.rejects(counter.increment(), /ECONNREFUSED/)
  })

  it('once there is one, what Redis says is the reason, not an outage from before', async () => {
    const connection = new Connection()
    const counter = counterIn(connection)
    connection.emit('error', new Error('connect ECONNREFUSED 10.0.77.17:10000'))
    connection.emit('ready')
    connection.answer = new Error('READONLY You cannot write against a read only replica.')
    await assert.rejects(counter.increment(), /READONLY/)
    connection.answer = 7
    assert.equal(await counter.increment(), 7)
  })
})
