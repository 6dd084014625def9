import assert from 'node:assert/strict'
import { Deadlines } from './deadlines.ts'

describe('deadlines', () => {
  it('end at the first tick at or after their moment, in order', () => {
    const deadlines = new Deadlines()
    const ended: string[] = []
    deadlines.at(20, () => ended.push('b'))
    deadlines.at(10, () => ended.push('a'))
    deadlines.at(20, () => ended.push('c'))
    deadlines.tick(9)
    assert.deepEqual(ended, [])
    deadlines.tick(25)
    assert.deepEqual(ended, ['a', 'b', 'c'])
    deadlines.tick(30)
    assert.equal(ended.length, 3)
  })

  it('called off does not end', () => {
    const deadlines = new Deadlines()
    const off = deadlines.at(10, () => assert.fail('was called off'))
    off()
    deadlines.tick(10)
    assert.equal(deadlines.size, 0)
  })

  it('one that calls off another at the same moment is obeyed', () => {
    const deadlines = new Deadlines()
    let second = () => {}
    deadlines.at(10, () => second())
    second = deadlines.at(10, () => assert.fail('was called off'))
    deadlines.tick(10)
  })

  it('nothing waits once they are stopped: neither what waited already nor what would begin to', async () => {
    const deadlines = new Deadlines()
    const early = deadlines.until(1000)
    deadlines.stop()
    await early
    await deadlines.until(1000)
    const off = deadlines.at(1000, () => assert.fail('was called off'))
    off()
    await Promise.resolve()
    assert.equal(deadlines.size, 0)
  })
})
