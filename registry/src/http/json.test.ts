import assert from 'node:assert/strict'
import { encode, exact, indented, sorted } from './json.ts'

describe('JSON', () => {
  it('escapes what Go escapes and nothing else', () => {
    assert.equal(
      encode('<a href="x">&\u2028\u2029é\\u003c'),
      '"\\u003ca href=\\"x\\"\\u003e\\u0026\\u2028\\u2029é\\\\u003c"',
    )
  })

  it('prints unsigned 64-bit numbers exactly', () => {
    for (const digits of ['0', '42', '9007199254740993', '18446744073709551615']) {
      assert.equal(encode({ Flags: exact(digits) }), `{"Flags":${digits}}`)
    }
  })

  it('sorts maps, integer-like names and __proto__ included', () => {
    const map = JSON.parse('{"b":"2","__proto__":"3","a":"1"}')
    assert.equal(encode(sorted(map)), '{"__proto__":"3","a":"1","b":"2"}')
  })

  it('indents as Go does: four spaces, empty things stay together, texts are left alone', () => {
    const value = { a: [], b: {}, c: [1, { d: 'x{,}:"[' }], e: 'q\\"' }
    assert.equal(indented(JSON.stringify(value)), JSON.stringify(value, null, 4))
    assert.equal(indented('[]'), '[]')
    assert.equal(indented('"a:b,{}"'), '"a:b,{}"')
  })
})
