import assert from 'node:assert/strict'
import { BadRequest } from '../errors.ts'
import { joinTargets } from './join-targets.ts'

describe('what is joined', () => {
  const known: Record<string, string[]> = { servers: ['10.0.0.1', '10.0.0.2', 'fd00::3'], one: ['10.0.0.1'] }
  const resolve = async (host: string) => {
    const found = known[host]
    if (found === undefined) throw Object.assign(new Error(`getaddrinfo ENOTFOUND ${host}`), { code: 'ENOTFOUND' })
    return found
  }

  it('a name stands for all of its addresses, once each, with the port written or the usual one', async () => {
    assert.deepEqual(await joinTargets(['servers', 'one:7000', 'one', '10.9.9.9', '[fd00::9]:1'], 8301, resolve), {
      targets: [
        { host: '10.0.0.1', port: 8301 },
        { host: '10.0.0.2', port: 8301 },
        { host: 'fd00::3', port: 8301 },
        { host: '10.0.0.1', port: 7000 },
        { host: '10.9.9.9', port: 8301 },
        { host: 'fd00::9', port: 1 },
      ],
      failures: [],
    })
  })

  it('a name that nobody knows is a failure of its own', async () => {
    const { targets, failures } = await joinTargets(['nobody', 'one'], 8301, resolve)
    assert.deepEqual(targets, [{ host: '10.0.0.1', port: 8301 }])
    assert.deepEqual(
      failures.map(({ message }) => message),
      ['Failed to join nobody: lookup nobody: no such host'],
    )
  })

  it('what is no address is refused before anybody is asked', async () => {
    await assert.rejects(joinTargets(['one', 'a b'], 8301, resolve), BadRequest)
  })
})
