import assert from 'node:assert/strict'
import { addressText } from '../io/address.ts'
import type { Address } from '../model.ts'
import { askStatuses } from './statuses.ts'

const rpc = (host: string): Address => ({ host, port: 8300 })

/** Servers by address; an address that is not here does not answer. */
function world(living: Record<string, string>) {
  const asked: string[] = []
  return {
    asked,
    ask: async (to: Address) => {
      asked.push(to.host)
      const id = living[addressText(to)]
      if (id === undefined) throw new Error('no answer')
      return { id, applied: 7, cluster: 'c' }
    },
  }
}

describe('what servers say of themselves', () => {
  it('counts only when it is the one that was meant', async () => {
    // s3 was wiped: gossip still tells its former id (seed 3000616 of the agents' simulator).
    const peers = world({ '10.0.0.3:8300': 's3-new', '10.0.0.4:8300': 's4' })
    const candidates = [
      { id: 's3-old', rpc: rpc('10.0.0.3') },
      { id: 's4', rpc: rpc('10.0.0.4') },
      { id: 's5', rpc: rpc('10.0.0.5') },
    ]
    const statuses = await askStatuses(peers, candidates, { cluster: 'c', servers: [] })
    assert.deepEqual([...statuses.keys()], ['s4'])
  })

  it('is asked of those that do not vote, or not from there', async () => {
    const peers = world({})
    const server = (id: string, host: string, voter: boolean) => ({ id, address: `${host}:8300`, voter })
    const servers = [server('a', '10.0.0.1', true), server('b', '10.0.0.2', true), server('c', '10.0.0.3', false)]
    const candidates = [
      { id: 'a', rpc: rpc('10.0.0.1') },
      { id: 'b', rpc: rpc('10.0.0.9') },
      { id: 'c', rpc: rpc('10.0.0.3') },
    ]
    await askStatuses(peers, candidates, { cluster: 'c', servers })
    assert.deepEqual(peers.asked, ['10.0.0.9', '10.0.0.3'])
  })
})
