import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { connect } from 'node:net'
import { Packr } from 'msgpackr'
import { frameKind } from '../../src/agent/peers.ts'
import { Cluster } from './cluster.ts'

const packr = new Packr({ useRecords: false })

/** A request as another agent would send it. */
function request(method: string, body: unknown): Buffer {
  const packed = packr.pack([method, body])
  const frame = Buffer.concat([Buffer.alloc(4), Buffer.from([frameKind.request, 0, 0, 0, 1]), packed])
  frame.writeUInt32BE(frame.length - 4, 0)
  return frame
}

/** Sends bytes on a connection; resolves when it is closed, by the other side or after a moment. */
function send(host: string, port: number, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(port, host, () => {
      socket.write(bytes)
      socket.once('data', () => socket.destroy())
      setTimeout(() => socket.destroy(), 200)
    })
    socket.on('error', () => {})
    socket.on('close', () => resolve())
  })
}

describe('whatever comes in on its ports', function () {
  this.timeout(60_000)
  const cluster = new Cluster(3)
  before(() => cluster.begin())
  after(() => cluster.end())
  const allLive = async (what: string) => {
    await cluster.settled()
    for (const { name, process } of cluster.hosts) {
      assert.equal(process?.child.exitCode, null, `${name} after ${what}:\n${process?.output.slice(-3000)}`)
      assert.doesNotMatch(process?.output ?? '', /halting/)
    }
    for (const host of cluster.hosts) {
      await host.put(`after/${what}`, host.name)
      assert.equal(await host.get(`after/${what}`), host.name)
    }
  }

  it('requests that no agent would send change nothing and end nobody', async () => {
    const bytes = new Uint8Array([1, 2, 3])
    const bodies: [method: string, body: unknown][] = [
      ['write', { cluster: '', data: bytes }],
      ['write', { cluster: '', data: packr.pack({ type: 'kv.burn' }) }],
      ['write', { cluster: '', data: packr.pack({ type: 'kv.set', key: 1, value: [], flags: 'x' }) }],
      ['write', { cluster: '', data: new Uint8Array(8_000_000) }],
      ['write', { cluster: 'another', data: packr.pack({ type: 'kv.delete', key: 'after', recurse: true }) }],
      ['write', null],
      ['read', { cluster: 'another', consistent: true }],
      ['follow', { cluster: '', index: -1, term: 1e300, leader: '', wait: Number.NaN }],
      ['follow', { cluster: '', index: 2 ** 53, term: 1, leader: '', wait: 1e12 }],
      ['state', { token: -1 }],
      ['leave', { id: 'nobody' }],
      ['bootstrap', { by: 'nobody' }],
      ['toString', {}],
      ['__proto__', {}],
    ]
    for (const { address } of cluster.hosts) {
      await Promise.all(bodies.map(([method, body]) => send(address, 8300, request(method, body))))
    }
    await allLive('requests')
  })

  it('noise on every port, framed or not', async () => {
    const sent: Promise<void>[] = []
    for (const { address } of cluster.hosts) {
      for (const port of [8300, 8301, 8302, 8400, 8500, 8600]) {
        for (let kind = 0; kind < 9; kind++) {
          const bytes = randomBytes(64 + kind * 100)
          // Well framed, of each kind of frame that there is; the rest is not framed.
          if (kind < 6) {
            bytes.writeUInt32BE(bytes.length - 4, 0)
            bytes[4] = kind
          }
          sent.push(send(address, port, bytes))
        }
      }
    }
    const udp = createSocket('udp4')
    for (const { address } of cluster.hosts) {
      for (const port of [8301, 8302, 8600]) {
        for (let length = 0; length < 1400; length += 100) udp.send(randomBytes(length), port, address)
      }
    }
    await Promise.all(sent)
    await new Promise<void>((resolve) => udp.close(resolve))
    await allLive('noise')
  })
})
