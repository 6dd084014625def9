// biome-ignore-all lint/suspicious/noTemplateCurlyInString: that is what templates of queries look like
import assert from 'node:assert/strict'
import { preparedQuery } from '../../test/store/samples.ts'
import { Refused } from '../errors.ts'
import type { PreparedQueryService } from '../model.ts'
import { Template } from './query-template.ts'

const template = (service: Partial<PreparedQueryService>, { regexp = '^t-(.*)$', removeEmptyTags = false } = {}) =>
  new Template(preparedQuery('t-', { template: { type: 'name_prefix_match', regexp, removeEmptyTags }, service }))

/** Where Consul 1.8.7 was measured to agree. */
describe('a template', () => {
  const filled: [string, string][] = [
    ['web', 'web'],
    ['${name.full}x${name.suffix}-${name.prefix}', 't-sUfxsUf-t-'],
    ['$${x}', '${x}'],
    ['x}$y', 'x}$y'],
    ['x${1}', 'x1'],
    ['${match(0)}', 't-sUf'],
    ['${ match( 1 ) }', 'sUf'],
    ['${match(1.5)}', 'sUf'],
    ['${match(99)}${match(-1)}', ''],
    ['a${"b${name.suffix}"}', 'absUf'],
    ['${"a\\"b\\nc"}', 'a"b\nc'],
    ['${(name.suffix)}', 'sUf'],
    ['${agent.segment}', ''],
  ]
  for (const [text, expected] of filled) {
    it(`makes ${JSON.stringify(expected)} of ${text}`, () => {
      assert.equal(template({ service: text }).render('t-sUf').service.service, expected)
    })
  }

  const syntax = 'parse error: syntax error'
  const refused: [string, string][] = [
    ['${', `Bad format '\${' in Service.Service: ${syntax}`],
    ['${}', `Bad format '\${}' in Service.Service: ${syntax}`],
    ['${name.full', `Bad format '\${name.full' in Service.Service: ${syntax}`],
    ['${match(0', `Bad format '\${match(0' in Service.Service: ${syntax}`],
    ['${match(0)[0]}', `Bad format '\${match(0)[0]}' in Service.Service: ${syntax}`],
    ['${upper("x")}', 'Bad evaluation for \'${upper("x")}\' in Service.Service: 1:3: unknown function called: upper'],
    ['ab${nofunc(1)}', "Bad evaluation for 'ab${nofunc(1)}' in Service.Service: 1:5: unknown function called: nofunc"],
    ['${NAME.full}', "Bad evaluation for '${NAME.full}' in Service.Service: 1:3: unknown variable accessed: NAME.full"],
    ['${true}', "Bad evaluation for '${true}' in Service.Service: 1:3: unknown variable accessed: true"],
    ['${match()}', "Bad evaluation for '${match()}' in Service.Service: 1:3: match: expected 1 arguments, got 0"],
    ['${match(1,2)}', "Bad evaluation for '${match(1,2)}' in Service.Service: 1:3: match: expected 1 arguments, got 2"],
    [
      '${match(name.suffix)}',
      'Bad evaluation for \'${match(name.suffix)}\' in Service.Service: __builtin_StringToInt: strconv.ParseInt: parsing "": invalid syntax',
    ],
  ]
  for (const [text, message] of refused) {
    it(`is refused with ${text}`, () => {
      assert.throws(() => template({ service: text }), { name: 'Refused', message })
    })
  }

  it('is filled in wherever the service has texts, but not in the keys of maps', () => {
    const { service } = template({
      service: 's',
      tags: ['${match(1)}', '!${match(1)}'],
      nodeMeta: { a: 'b${match(1)}' },
      serviceMeta: { a: '${match(1)}' },
      near: '${name.suffix}',
      ignoreCheckIds: ['${name.suffix}'],
      failover: { nearest: 1, datacenters: ['${name.suffix}'] },
    }).render('t-x')
    assert.deepEqual(
      [service.tags, service.nodeMeta, service.serviceMeta, service.near, service.ignoreCheckIds, service.failover],
      [['x', '!x'], { a: 'bx' }, { a: 'x' }, 'x', ['x'], { nearest: 1, datacenters: ['x'] }],
    )
  })

  it('leaves tags that came out empty away when it is told to', () => {
    const tags = ['${match(1)}', '', '!${match(1)}']
    assert.deepEqual(template({ tags }).render('t-').service.tags, ['', '', '!'])
    assert.deepEqual(template({ tags }, { removeEmptyTags: true }).render('t-').service.tags, ['!'])
    assert.deepEqual(template({}, { removeEmptyTags: true }).render('t-').service.tags, [])
  })

  it('has no groups when its expression does not match', () => {
    const { service } = template({ service: 's${match(0)}${match(1)}' }, { regexp: '^u-(.*)$' }).render('t-x')
    assert.equal(service.service, 's')
  })

  it('is refused with an expression that is none, another type, or nesting without end', () => {
    assert.throws(() => template({}, { regexp: '(' }), {
      message: 'Bad Regexp: error parsing regexp: missing closing ): `(`',
    })
    const bogus = preparedQuery('x', { template: { type: 'bogus', regexp: '', removeEmptyTags: false } })
    assert.throws(() => new Template(bogus), { message: "Bad Template.Type 'bogus'" })
    assert.throws(() => template({ service: '${"'.repeat(10_000) }), Refused)
    assert.throws(() => template({ service: `\${${'('.repeat(10_000)}` }), Refused)
  })
})
