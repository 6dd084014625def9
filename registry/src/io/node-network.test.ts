import assert from 'node:assert/strict'
import type { Address } from '../model.ts'
import { NodeNetwork } from './node-network.ts'

const loopback: Address = { host: '127.0.0.1', port: 0 }

describe('the real network', () => {
  const open: NodeNetwork[] = []
  const network = async () => {
    const made = await NodeNetwork.open(
      { rpc: loopback },
      () => {},
      (reason) => assert.fail(reason),
    )
    open.push(made)
    return made
  }
  afterEach(async () => {
    await Promise.all(open.splice(0).map((made) => made.close()))
  })

  it('keeps frames that come before anybody asked for them', async () => {
    const [a, b] = [await network(), await network()]
    const to: Address = { host: '127.0.0.1', port: b.ports.rpc as number }
    const answered = new Promise<string>((resolve) =>
      a.onFrame('rpc', (bytes) => resolve(Buffer.from(bytes).toString())),
    )
    a.frame('rpc', to, Buffer.from('early'))
    await new Promise<void>((resolve) => {
      const poll = () => (b.earlyFrames > 0 ? resolve() : setImmediate(poll))
      poll()
    })
    b.onFrame('rpc', (bytes, reply) => reply(Buffer.from(`late, but here: ${Buffer.from(bytes).toString()}`)))
    assert.equal(await answered, 'late, but here: early')
  })
})
