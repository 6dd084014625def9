import assert from 'node:assert/strict'
import { Unsettled } from './waiting.ts'

describe('what waits to be committed and saved', () => {
  it('counts what former leaders left, until that is settled', () => {
    const unsettled = new Unsettled()
    unsettled.begin(10, 30, 2000)
    unsettled.add(32, 150)
    assert.deepEqual([unsettled.count, unsettled.bytes], [22, 2150])
    unsettled.settle(29)
    assert.deepEqual([unsettled.count, unsettled.bytes], [3, 2150])
    unsettled.settle(31)
    assert.deepEqual([unsettled.count, unsettled.bytes], [1, 150])
    unsettled.settle(40)
    assert.deepEqual([unsettled.count, unsettled.bytes], [0, 0])
    unsettled.add(41, 7)
    unsettled.begin(40, 42, 9)
    assert.deepEqual([unsettled.count, unsettled.bytes], [2, 9])
  })
})
