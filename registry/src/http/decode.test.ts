import assert from 'node:assert/strict'
import fc from 'fast-check'
import { Fields, parseJson } from './decode.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

describe('request bodies', () => {
  const complaints: [body: string, sentence: string][] = [
    ['', 'EOF'],
    ['  \n', 'EOF'],
    ['x', "invalid character 'x' looking for beginning of value"],
    ['{', 'unexpected EOF'],
    ['{"Node":', 'unexpected EOF'],
    ['not json', "invalid character 'o' in literal null (expecting 'u')"],
    ['{x', "invalid character 'x' looking for beginning of object key string"],
    ['{"a" 1}', "invalid character '1' after object key"],
    ['{"a":1 "b"', "invalid character '\"' after object key:value pair"],
    ['[1 2]', "invalid character '2' after array element"],
    ['{"a":1,}', "invalid character '}' looking for beginning of object key string"],
    ['"\n"', "invalid character '\\n' in string literal"],
    ['"\\x"', "invalid character 'x' in string escape code"],
    ['"\\u12g4"', "invalid character 'g' in \\u hexadecimal character escape"],
    ['-x', "invalid character 'x' in numeric literal"],
    ['1.x', "invalid character 'x' after decimal point in numeric literal"],
    ['1ex', "invalid character 'x' in exponent of numeric literal"],
    ["'", "invalid character '\\'' looking for beginning of value"],
  ]
  for (const [body, sentence] of complaints) {
    it(`${JSON.stringify(body)}: ${sentence}`, () => {
      assert.throws(() => parseJson(bytes(body)), { name: 'BadRequest', message: `Request decode failed: ${sentence}` })
    })
  }

  it('are read up to the end of their first value', () => {
    assert.deepEqual(parseJson(bytes('{"a":[1,{"b":"}"}]} and more')), { a: [1, { b: '}' }] })
    assert.equal(parseJson(bytes('12 13')), 12)
  })

  it('have members by any case and with underscores; the last that is not null counts', () => {
    const kelvin = '\u212aey'
    for (const name of ['Key', 'key', 'KEY', 'k_e_y', '_key', kelvin]) {
      assert.equal(new Fields({ Kez: '', Keys: '', xKey: '', [name]: 'a' }, '').text('Key'), 'a', name)
    }
    assert.equal(new Fields({ Key: 'a', KEY: 'b', key: null }, '').text('Key'), 'b')
    assert.equal(new Fields({ key: null }, '').has('Key'), false)
    assert.equal(new Fields({ key: null }, '').isEmpty, true)
  })

  it('may nest as deeply as they are long', () => {
    assert.throws(() => parseJson(bytes('['.repeat(400_000))), { message: 'Request decode failed: unexpected EOF' })
  })

  it('are taken or refused as JSON.parse does, whatever follows', () => {
    fc.assert(
      fc.property(fc.json(), fc.nat(), fc.string({ maxLength: 2 }), (text, at, noise) => {
        const cut = at % (text.length + 1)
        const broken = text.slice(0, cut) + noise + text.slice(cut)
        try {
          assert.deepEqual(parseJson(bytes(broken)), JSON.parse(broken))
        } catch (error) {
          if ((error as Error).name !== 'BadRequest' && (error as Error).name !== 'SyntaxError') throw error
        }
      }),
    )
  })

  it('name their fields in any case, with underscores or without', () => {
    const fields = new Fields({ enable_tag_override: true, NAME: 'x', deregisterCriticalServiceAfter: '90m' }, '')
    assert.equal(fields.boolean('EnableTagOverride'), true)
    assert.equal(fields.text('Name'), 'x')
    assert.equal(fields.duration('DeregisterCriticalServiceAfter'), 5_400_000)
  })

  it('give durations in Go syntax or in nanoseconds', () => {
    const fields = new Fields({ A: '1m30s', B: 10_000_000_000, C: '', D: null }, '')
    assert.deepEqual(
      ['A', 'B', 'C', 'D', 'E'].map((name) => fields.duration(name)),
      [90_000, 10_000, 0, 0, 0],
    )
    assert.throws(() => new Fields({ A: '10' }, '').duration('A'), {
      message: 'Request decode failed: time: missing unit in duration "10"',
    })
  })

  it('say what type was expected where', () => {
    const fields = new Fields({ Port: '80x', Tags: [1], Meta: 'm', Name: {} }, 'NodeService.Service')
    const sentence = (kind: string, field: string, type: string) => ({
      name: 'BadRequest',
      message: `Request decode failed: json: cannot unmarshal ${kind} into Go struct field NodeService.Service.${field} of type ${type}`,
    })
    assert.throws(() => fields.integer('Port'), sentence('string', 'Port', 'int'))
    assert.throws(() => fields.texts('Tags'), sentence('number', 'Tags', 'string'))
    assert.throws(() => fields.textMap('Meta'), sentence('string', 'Meta', 'map[string]string'))
    assert.throws(() => fields.text('Name'), sentence('object', 'Name', 'string'))
  })

  it('may hold __proto__ as a name without harm', () => {
    const fields = new Fields(JSON.parse('{"__proto__":{"Name":"x"},"Meta":{"__proto__":"y"}}'), '')
    assert.equal(fields.text('Name'), '')
    assert.deepEqual(Object.entries(fields.textMap('Meta') ?? {}), [['__proto__', 'y']])
  })
})
