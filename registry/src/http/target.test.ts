import assert from 'node:assert/strict'
import fc from 'fast-check'
import { encodedPath, rawTarget, readPath, readQuery } from './target.ts'

describe('request targets', () => {
  const paths: [raw: string, path: string][] = [
    ['/v1/kv/a%2Fb', '/v1/kv/a/b'],
    ['/v1/kv/a+b', '/v1/kv/a+b'],
    ['/v1/kv/sp%20ace', '/v1/kv/sp ace'],
    ['/v1/kv/uni%C3%A9', '/v1/kv/unié'],
    ['/v1/kv/%2525', '/v1/kv/%25'],
    ['/v1/kv/...', '/v1/kv/...'],
    ['/v1/kv/.a', '/v1/kv/.a'],
    ['/v1/kv/a/', '/v1/kv/a/'],
    ['/', '/'],
    ['/v1/kv/%F0%9F%90%B3', '/v1/kv/🐳'],
    ['/v1/kv/a\\b', '/v1/kv/a\\b'],
  ]
  for (const [raw, path] of paths) {
    it(`${raw} is ${path}`, () => assert.deepEqual(readPath(raw), { kind: 'path', path }))
  }

  const moves: [raw: string, path: string][] = [
    ['//v1/agent/self', '/v1/agent/self'],
    ['/v1/kv/a/../b', '/v1/kv/b'],
    ['/v1/kv/a/./b/', '/v1/kv/a/b/'],
    ['/v1/kv/%2e%2e/x', '/v1/x'],
    ['/v1/kv/a%2F%2Fb', '/v1/kv/a/b'],
    ['/../..', '/'],
    ['/v1/kv/.', '/v1/kv'],
  ]
  for (const [raw, path] of moves) {
    it(`${raw} has moved to ${path}`, () => assert.deepEqual(readPath(raw), { kind: 'moved', path }))
  }

  const refusals: [raw: string, reason: RegExp][] = [
    ['/v1/kv/%zz', /^400 Bad Request$/],
    ['/v1/kv/%', /^400 Bad Request$/],
    ['/v1/kv/%2', /^400 Bad Request$/],
    ['/v1/kv/a%00b', /unprintable character U\+0000/],
    ['/v1/kv/a%0Ab', /unprintable character U\+000A/],
    ['/v1/kv/a%E2%80%A8b', /unprintable character U\+2028/],
    ['/v1/kv/a%7Fb', /unprintable character U\+007F/],
    ['/v1/kv/%FF%FE', /expected UTF-8/],
    ['/v1/kv/%ED%A0%80', /expected UTF-8/],
  ]
  for (const [raw, reason] of refusals) {
    it(`${raw} is refused`, () => {
      const read = readPath(raw)
      assert.equal(read.kind, 'refused')
      assert.match(read.kind === 'refused' ? read.reason : '', reason)
    })
  }

  it('of clean paths survive encoding and decoding', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 }), { minLength: 1 }), (parts) => {
        const path = `/${parts.join('/')}`
        const read = readPath(encodedPath(path))
        if (read.kind === 'path') assert.equal(read.path, path)
      }),
    )
  })

  it('are taken from the request line when the server has it, from the URL otherwise', () => {
    const request = new Request('http://localhost:8500/v1/kv/b?x=1#y')
    assert.deepEqual(rawTarget(request, undefined), { path: '/v1/kv/b', query: 'x=1' })
    assert.deepEqual(rawTarget(request, { incoming: { url: '/v1/kv/a/../b?y' } }), {
      path: '/v1/kv/a/../b',
      query: 'y',
    })
    assert.deepEqual(rawTarget(request, { incoming: { url: 'http://other/v1' } }), { path: '/v1/kv/b', query: 'x=1' })
    assert.deepEqual(rawTarget(new Request('http://localhost'), undefined), { path: '/', query: '' })
  })

  it('carry their query in UTF-8; a plus is a blank there, and only there', () => {
    assert.equal(readQuery('note=a+b%20c%C3%A9').get('note'), 'a b cé')
  })
})
