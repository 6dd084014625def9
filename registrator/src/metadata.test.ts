import assert from 'node:assert/strict'
import { listOf, metadataOf } from './metadata.ts'

const of = (port: number, env: string[], labels: Record<string, string> = {}) =>
  Object.fromEntries(metadataOf({ env, labels }, port).values)

describe('metadataOf', () => {
  it('takes what begins with SERVICE_ in upper case, keys in lower case, values up to the end', () => {
    assert.deepEqual(of(80, ['SERVICE_NAME=web', 'SERVICE_Url=a=b', 'service_tags=x', 'PATH=/bin', 'SERVICE_LONELY']), {
      name: 'web',
      url: 'a=b',
    })
  })

  it('what is said for the port counts more than what is said for all, whichever comes first', () => {
    assert.deepEqual(of(80, ['SERVICE_80_NAME=web', 'SERVICE_NAME=all']), { name: 'web' })
    assert.deepEqual(of(80, ['SERVICE_NAME=all', 'SERVICE_80_NAME=web']), { name: 'web' })
    assert.deepEqual(of(443, ['SERVICE_NAME=all', 'SERVICE_80_NAME=web']), { name: 'all' })
  })

  it('compares ports as they are written', () => {
    assert.deepEqual(of(80, ['SERVICE_080_NAME=web']), {})
  })

  it('a label wins over the environment', () => {
    assert.deepEqual(of(80, ['SERVICE_NAME=env'], { SERVICE_NAME: 'label', service_name: 'no' }), { name: 'label' })
    assert.deepEqual(of(80, ['SERVICE_80_NAME=env'], { SERVICE_NAME: 'label' }), { name: 'env' })
  })

  it('an empty value for the port takes back what is said for all', () => {
    assert.deepEqual(of(80, ['SERVICE_IGNORE=1', 'SERVICE_80_IGNORE=']), { ignore: '' })
  })
})

describe('listOf', () => {
  it('splits at commas that have no backslash, in order, without empty items', () => {
    assert.deepEqual(listOf('a,b\\,c,,d'), ['a', 'b,c', 'd'])
    assert.deepEqual(listOf(''), [])
    assert.deepEqual(listOf('a, b'), ['a', ' b'])
  })
})
