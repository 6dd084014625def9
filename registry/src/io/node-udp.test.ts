import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { probe } from './node-probe.ts'
import { Programs } from './node-program.ts'

const ask = (target: string, timeout = 300) => probe({ kind: 'udp', target, timeout }, new Programs())

describe('a UDP check', () => {
  it('is passing while somebody listens, who need not answer', async () => {
    const socket = createSocket('udp4')
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
    const target = `127.0.0.1:${socket.address().port}`
    const heard = new Promise<number>((resolve) => socket.once('message', (bytes) => resolve(bytes.length)))
    assert.deepEqual(await ask(target), { status: 'passing', output: `UDP connect ${target}: Success` })
    assert.equal(await heard, 0)
    socket.once('message', (_bytes, { port, address }) => socket.send('x', port, address))
    assert.equal((await ask(target, 20_000)).status, 'passing')
    socket.close()
  })

  it('is critical when the other host says that nobody listens, and when the target is none', async () => {
    const { status, output } = await ask('127.0.0.1:1', 20_000)
    assert.equal(status, 'critical')
    assert.match(output, /connection refused/)
    assert.equal((await ask('nowhere')).status, 'critical')
  })
})
