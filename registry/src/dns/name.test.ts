import assert from 'node:assert/strict'
import { isUnder, nameFrom, type Subject, sameName, subjectOf, textOf } from './name.ts'

const options = { domains: [['consul'], ['corp', 'example']], datacenter: 'DC1', srv: false }
const subject = (text: string, srv = false) => subjectOf(nameFrom(text) ?? [], { ...options, srv })
const service = (name: string, tag?: string): Subject => ({ kind: 'service', service: name, tag })
const nothing: Subject = { kind: 'nothing' }

describe('a name asks for', () => {
  const cases: [text: string, subject: Subject][] = [
    ['web.service.consul', service('web')],
    ['web.service.dc1.consul', service('web')],
    ['WEB.Service.Dc1.CONSUL', service('web')],
    ['web.service.dc2.consul', { kind: 'service', service: 'web', tag: undefined, datacenter: 'dc2' }],
    ['web.service.dc1.dc1.consul', nothing],
    ['v1.web.service.consul', service('web', 'v1')],
    ['a.b.web.service.consul', service('web', 'a.b')],
    ['_web._tcp.service.consul', service('web')],
    ['_web._TCP.service.consul', service('web')],
    ['_web._v1.service.dc1.consul', service('web', 'v1')],
    ['_web._udp.service.consul', service('web', 'udp')],
    ['_web.service.consul', service('_web')],
    ['_a._web._tcp.service.consul', service('_tcp', '_a._web')],
    ['distributed_app.service.consul', service('distributed_app')],
    ['service.service.consul', service('service')],
    ['node.service.consul', service('node')],
    ['web.service.node.consul', { kind: 'node', node: 'web.service' }],
    ['service.consul', nothing],
    ['host1.node.consul', { kind: 'node', node: 'host1' }],
    ['host1.node.dc1.consul', { kind: 'node', node: 'host1' }],
    ['a.host1.node.consul', { kind: 'node', node: 'a.host1' }],
    ['host1.node.dc9.consul', { kind: 'node', node: 'host1', datacenter: 'dc9' }],
    ['node.consul', nothing],
    ['host1.consul', nothing],
    ['consul', nothing],
    ['0a000001.addr.consul', { kind: 'address', octets: [10, 0, 0, 1] }],
    ['0a000001.addr.dc1.consul', { kind: 'address', octets: [10, 0, 0, 1] }],
    ['0a000001.addr.dc9.consul', { kind: 'address', octets: [10, 0, 0, 1] }],
    ['0a00.addr.consul', { kind: 'address', octets: undefined }],
    ['0a00000g.addr.consul', nothing],
    ['x.0a000001.addr.consul', nothing],
    ['web.query.consul', { kind: 'query', query: 'web' }],
    ['Geo.db.query.DC2.consul', { kind: 'query', query: 'geo.db', datacenter: 'dc2' }],
    ['query.consul', nothing],
    ['web.query.dc1.x.consul', nothing],
    ['web.connect.consul', nothing],
    ['web.ingress.consul', nothing],
    ['web.service.corp.example', service('web')],
    ['web.service.example', { kind: 'elsewhere' }],
    ['notconsul', { kind: 'elsewhere' }],
    ['web.service.notconsul', { kind: 'elsewhere' }],
    ['.', { kind: 'elsewhere' }],
    ['1.0.0.10.in-addr.arpa', { kind: 'reverse', octets: [10, 0, 0, 1] }],
    ['0.0.10.in-addr.arpa', { kind: 'elsewhere' }],
  ]
  for (const [text, expected] of cases) {
    it(`${text}: ${JSON.stringify(expected)}`, () => assert.deepEqual(subject(text), expected))
  }

  it('a service without saying so, if the question is for SRV', () => {
    assert.deepEqual(subject('_web._tcp.consul', true), service('web'))
    assert.deepEqual(subject('_web._v1.dc1.consul', true), service('web', 'v1'))
    assert.deepEqual(subject('_web._tcp.consul'), nothing)
  })

  it('what is in the longer domain, when one of ours lies in another', () => {
    const domains = [['consul'], ['service', 'consul']]
    assert.deepEqual(subjectOf(['web', 'service', 'service', 'consul'], { ...options, domains }), service('web'))
  })

  it('octets that are no characters without failing', () => {
    assert.equal(subjectOf(['\xff\xfe', 'service', 'consul'], options).kind, 'service')
    assert.deepEqual(subjectOf(['b\xc3\xbcro', 'service', 'consul'], options), service('büro'))
  })
})

describe('a name', () => {
  it('is made of a text with or without the last dot, and back', () => {
    assert.deepEqual(nameFrom('web.service.consul.'), ['web', 'service', 'consul'])
    assert.deepEqual(nameFrom('web.service.consul'), ['web', 'service', 'consul'])
    assert.deepEqual(nameFrom('.'), [])
    assert.equal(textOf(nameFrom('büro.consul') ?? []), 'büro.consul.')
    assert.equal(textOf([]), '.')
  })

  it('has no empty and no overlong labels, and fits the wire', () => {
    for (const text of ['a..b', '.a', `${'a'.repeat(64)}.consul`, `${'a.'.repeat(127)}bb`, 'ü'.repeat(32)]) {
      assert.equal(nameFrom(text), undefined, text)
    }
    assert.ok(nameFrom(`${'a'.repeat(63)}.consul`))
    assert.ok(nameFrom(`${'a.'.repeat(126)}a`))
  })

  it('is the same in other letters, of ASCII only', () => {
    assert.ok(sameName(['Web', 'CONSUL'], ['web', 'consul']))
    assert.ok(!sameName(['web'], ['web', 'consul']))
    // É and é of Latin-1 would be parts of other characters here.
    assert.ok(!sameName(['\xc9'], ['\xe9']))
    assert.ok(isUnder(['web', 'CONSUL'], ['consul']))
    assert.ok(!isUnder(['consul'], ['web', 'consul']))
  })
})
