import assert from 'node:assert/strict'
import fc from 'fast-check'
import { parseFilter } from './filter.ts'
import { checkServiceNodeShape, serviceNodeShape } from './selector.ts'

const row = {
  Node: 'n1',
  Address: '10.1.1.1',
  NodeMeta: null,
  ServiceTags: ['v1', 'prod'],
  ServiceMeta: { ver: '1', 'a-b': 'x' },
  ServicePort: 8080,
  ServiceTaggedAddresses: { wan: { Address: '1.2.3.5', Port: 80 } },
  ServiceEnableTagOverride: false,
}

describe('?filter', () => {
  const table: [expression: string, matches: boolean][] = [
    ['Node == n1', true],
    ['Node==`n1` and Node == n1', true],
    ['Node != "n1"', false],
    ['not Node == n1', false],
    ['not not Node == n1', true],
    ['Node == n2 or Node == n1 and ServicePort == 8080', true],
    ['(Node == n2 or Node == n1) and ServicePort == 1', false],
    ['"1" in Node', true],
    ['Node contains "x"', false],
    ['Node not contains x', true],
    ['v1 in ServiceTags', true],
    ['v2 not in ServiceTags', true],
    ['ServiceTags contains prod', true],
    ['ServiceTags is empty', false],
    ['NodeMeta is empty', true],
    ['NodeMeta.rack == r1', false],
    ['NodeMeta.rack != r1', true],
    ['ServiceMeta["a-b"] == x', true],
    ['ver in ServiceMeta', true],
    ['ServiceMeta is not empty', true],
    ['ServicePort == "8080"', true],
    ['ServicePort != -1', true],
    ['ServiceTaggedAddresses.wan.Port == 80', true],
    ['ServiceTaggedAddresses.lan.Port == 80', false],
    ['ServiceEnableTagOverride == F', true],
    ['Node matches "^n[0-9]+$"', true],
    ['Node matches "(?i)^N"', true],
    ['Node not matches "x"', true],
    ['Node == "a\\"b"', false],
  ]
  for (const [expression, matches] of table) {
    it(`${expression}: ${matches}`, () => assert.equal(parseFilter(expression, serviceNodeShape)(row), matches))
  }

  it('of a list asks for any of its members', () => {
    const instance = { Checks: [{ Status: 'passing' }, { Status: 'critical' }] }
    const test = (expression: string) => parseFilter(expression, checkServiceNodeShape)(instance)
    assert.equal(test('Checks.Status == critical'), true)
    assert.equal(test('Checks.Status != critical'), true)
    assert.equal(test('not Checks.Status == critical'), false)
    assert.equal(test('Checks is empty'), false)
  })

  it('with expressions that other engines do not come to an end with is answered', () => {
    const longRow = { ...row, Node: `${'a'.repeat(4_000)}!` }
    for (const pattern of ['(a+)+$', '((a)*)*$', '(a|a)*$', '(a?){9}b']) {
      assert.equal(parseFilter(`Node matches \`^${pattern}\``, serviceNodeShape)(longRow), false, pattern)
    }
  })

  it('refuses what Go refuses, and a text too long for a long expression', () => {
    for (const pattern of ['(?=a)', '(a)\\1', '(?<x>a)', '[[:nothing:]]', 'a[', '(']) {
      assert.throws(() => parseFilter(`Node matches \`${pattern}\``, serviceNodeShape), /error parsing regexp/, pattern)
    }
    const long = parseFilter('Node matches `(a|b|c|d){500}!`', serviceNodeShape)
    assert.equal(long(row), false)
    assert.throws(
      () => long({ ...row, Node: 'a'.repeat(50_000) }),
      /takes too many steps with a text of 50000 characters/,
    )
  })

  it('refuses what takes too many steps with many rows, though not with one', () => {
    const slow = parseFilter('Node matches `(a?b?c?d?){300}!`', serviceNodeShape)
    const look = (rows: number) => {
      for (let n = 0; n < rows; n++) assert.equal(slow({ ...row, Node: 'a'.repeat(100) }), false)
    }
    look(5)
    assert.throws(() => look(200), /takes too many steps/)
    const usual = parseFilter('Node matches `^web-[0-9]+.*b$`', serviceNodeShape)
    for (let n = 0; n < 500; n++) assert.equal(usual({ ...row, Node: `web-${n}${'x'.repeat(4_000)}` }), false)
  })

  it('refuses expressions that are too long or too deep', () => {
    assert.throws(() => parseFilter(`Node == "${'x'.repeat(5000)}"`, serviceNodeShape), /at most 4096 characters/)
    assert.throws(() => parseFilter(`${'('.repeat(100)}Node == n1`, serviceNodeShape), /at most 64 levels/)
    assert.throws(() => parseFilter(`${'not '.repeat(100)}Node == n1`, serviceNodeShape), /at most 64 levels/)
  })

  it('answers or refuses, whatever it is given', () => {
    const word = fc.constantFrom(
      'Node',
      'ServiceTags',
      'ServicePort',
      'and',
      'or',
      'not',
      'in',
      'is',
      'empty',
      '==',
      '(',
      ')',
      '"x"',
      '1',
      '[',
      '.',
      ' ',
    )
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(word).map((words) => words.join(' ')),
        ),
        (expression) => {
          try {
            parseFilter(expression, serviceNodeShape)(row)
          } catch (error) {
            assert.equal((error as Error).name, 'Refused')
          }
        },
      ),
    )
  })
})
