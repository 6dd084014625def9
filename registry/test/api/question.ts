/** A DNS question as a resolver sends it. */
import { encode } from '../../src/dns/codec.ts'
import { type Edns, opcodes, types } from '../../src/dns/message.ts'
import { nameFrom } from '../../src/dns/name.ts'

/** @param subnet of the client, as octets of the option; '' for a question without EDNS */
export function question(text: string, id: number, type: number = types.A, subnet = ''): Uint8Array {
  const name = nameFrom(text)
  if (name === undefined) throw new Error(`expected a name, received "${text}"`)
  const edns: Edns = { size: 1232, version: 0, dnssec: false, options: [{ code: 8, octets: subnet }] }
  return encode({
    id,
    response: false,
    opcode: opcodes.QUERY,
    authoritative: false,
    truncated: false,
    recursionDesired: true,
    recursionAvailable: false,
    authenticData: false,
    checkingDisabled: false,
    rcode: 0,
    questions: [{ name, type, class: 1 }],
    answers: [],
    authority: [],
    additional: [],
    edns: subnet === '' ? undefined : edns,
  })
}
