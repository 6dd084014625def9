import assert from 'node:assert/strict'
import { isIPv4, isIPv6 } from 'node:net'
import fc from 'fast-check'
import { formatAddress, hexLabel, parseAddress, parseHexLabel, parseReverse } from './address.ts'

describe('addresses', () => {
  it('are the same again after being written', () => {
    const octets = fc.oneof(
      fc.array(fc.nat(255), { minLength: 4, maxLength: 4 }),
      // With runs of zeros, for that is where the writing differs.
      fc
        .array(fc.oneof(fc.constant([0, 0]), fc.tuple(fc.nat(255), fc.nat(255))), { minLength: 8, maxLength: 8 })
        .map((groups) => groups.flat()),
    )
    fc.assert(
      fc.property(octets, (address) => {
        const text = formatAddress(address)
        const mapped = address.length === 16 && text.startsWith('::ffff:') && text.split(':').length === 5
        assert.deepEqual(parseAddress(text), mapped ? address.slice(12) : address)
        assert.ok(address.length === 4 ? isIPv4(text) : isIPv6(text))
        assert.deepEqual(parseHexLabel(hexLabel(address)), address)
      }),
    )
  })

  it('are what Node takes for addresses', () => {
    const part = fc.constantFrom(
      '0',
      '1',
      '10',
      '255',
      '256',
      '01',
      'ffff',
      'abcd',
      'g',
      '12345',
      ':',
      '::',
      '.',
      '1.2.3.4',
      '%',
      ' ',
      '-1',
    )
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), fc.constantFrom('', '.', ':'), (parts, between) => {
        const text = parts.join(between)
        const expected = isIPv4(text) || (isIPv6(text) && !text.includes('%'))
        assert.equal(parseAddress(text) !== undefined, expected, text)
      }),
      { numRuns: 5000 },
    )
  })

  const written: [text: string, canonical: string][] = [
    ['10.2.0.1', '10.2.0.1'],
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8::', '2001:db8::'],
    ['::', '::'],
    ['::ffff:10.2.0.1', '10.2.0.1'],
    ['64:ff9b::10.2.0.1', '64:ff9b::a02:1'],
  ]
  for (const [text, canonical] of written) {
    it(`of ${text} are written ${canonical}`, () => assert.equal(formatAddress(parseAddress(text) ?? []), canonical))
  }

  it('have reverse names', () => {
    assert.deepEqual(parseReverse('1.0.2.10.in-addr.ARPA'.split('.')), [10, 2, 0, 1])
    const nibbles = '2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.d.0.1.0.0.2.ip6.arpa'
    assert.equal(formatAddress(parseReverse(nibbles.split('.')) ?? []), '2001:db8::2')
    for (const name of [
      '0.2.10.in-addr.arpa',
      '1.1.0.2.10.in-addr.arpa',
      '256.0.2.10.in-addr.arpa',
      'in-addr.arpa',
      '1.0.2.10.consul',
      '2.0.ip6.arpa',
      'arpa',
      nibbles.replace('d', 'dd'),
      nibbles.replace('d', 'x'),
    ]) {
      assert.equal(parseReverse(name.split('.')), undefined, name)
    }
  })

  it('have labels of 8 or 32 digits and nothing else', () => {
    assert.deepEqual(parseHexLabel('0A020001'), [10, 2, 0, 1])
    for (const label of ['', '0a0200', '0a02000', '0a0200011', '0a02000g', `${'0'.repeat(31)}`]) {
      assert.equal(parseHexLabel(label), undefined, label)
    }
  })
})
