/** UDP checks: an empty datagram, and whether somebody says that nobody listens there. Silence is passing, as in Consul. */
import { createSocket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import type { Millis } from '../model.ts'
import { parseAddress } from './address.ts'
import type { ProbeOutcome } from './io.ts'

/** @param words an error of the connection in Go's words */
export function udp(
  target: string,
  timeout: Millis,
  words: (error: unknown, url: string) => string,
): Promise<ProbeOutcome> {
  const { host, port } = parseAddress(target)
  return new Promise((resolve) => {
    const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4')
    const done = (outcome: ProbeOutcome) => {
      clearTimeout(timer)
      socket.close()
      resolve(outcome)
    }
    const fine = () => done({ status: 'passing', output: `UDP connect ${target}: Success` })
    const timer = setTimeout(fine, timeout)
    // Only a connected socket hears of what ICMP says.
    socket.once('error', (error) => {
      socket.on('error', () => {})
      done({ status: 'critical', output: words(error, `udp://${target}`).replace('dial tcp', 'dial udp') })
    })
    socket.once('message', fine)
    socket.connect(port, host, () => socket.send(Buffer.alloc(0)))
  })
}
