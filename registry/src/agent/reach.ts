/** Whether two members can reach each other at what they advertise, as far as the addresses themselves tell. */
import type { Address } from '../model.ts'

const isLoopback = ({ host }: Address) => host.startsWith('127.') || host === '::1'
const isWide = ({ host }: Address) => host.includes(':')

/** For the log of `self`; undefined: nothing speaks against it. */
export function unreachable(self: Address, other: Address, name: string): string | undefined {
  if (isLoopback(other) && !isLoopback(self)) {
    return (
      `${name} advertises the loopback address ${other.host}, where only agents on its own host reach it, and this one ` +
      `${self.host}; start it with another -advertise`
    )
  }
  if (isLoopback(self) && !isLoopback(other)) {
    return (
      `this agent advertises the loopback address ${self.host}, where only agents on its own host reach it, and ${name} ` +
      `${other.host}; start this one with another -advertise`
    )
  }
  if (isWide(self) !== isWide(other)) {
    return (
      `${name} advertises ${other.host} and this agent ${self.host}: an IPv4 and an IPv6 address reach each other only ` +
      'where both agents have both kinds (-bind=::)'
    )
  }
  return undefined
}
