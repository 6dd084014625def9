import assert from 'node:assert/strict'
import { Connection, framed, type Stream } from './connection.ts'

/** A stream that notes what is done with it, and a responder that answers when told. */
function scene() {
  const done: string[] = []
  const waiting: ((reply: Uint8Array | undefined) => void)[] = []
  const stream: Stream & { destroyed: boolean; writableNeedDrain: boolean; reading: boolean } = {
    destroyed: false,
    writableNeedDrain: false,
    reading: true,
    write: (bytes: Uint8Array) => done.push(`write ${Buffer.from(bytes).toString('latin1', 2)}`),
    pause: () => {
      stream.reading = false
    },
    resume: () => {
      stream.reading = true
    },
    end: () => done.push('end'),
    destroy: () => {
      stream.destroyed = true
    },
  }
  const connection = new Connection(
    stream,
    (_, answered) => waiting.push(answered),
    () => {},
  )
  const asks = (count: number) =>
    connection.data(Buffer.concat(Array.from({ length: count }, () => framed(Buffer.from('q')))))
  const answer = (text: string) => waiting.shift()?.(Buffer.from(text))
  return { done, waiting, stream, connection, asks, answer }
}

describe('a TCP connection', () => {
  it('answers in the order in which answers are ready', () => {
    const { done, waiting, asks } = scene()
    asks(2)
    const [first, second] = waiting
    second?.(Buffer.from('two'))
    first?.(Buffer.from('one'))
    assert.deepEqual(done, ['write two', 'write one'])
  })

  it('ends after the last answer, when the client has ended', () => {
    const { done, connection, asks, answer } = scene()
    asks(1)
    connection.ended()
    assert.deepEqual(done, [])
    answer('a')
    assert.deepEqual(done, ['write a', 'end'])
  })

  it('takes a hundred questions at a time and reads on when answers are out', () => {
    const { waiting, stream, asks, answer } = scene()
    asks(150)
    assert.equal(waiting.length, 100)
    assert.equal(stream.reading, false)
    for (let at = 0; at < 51; at++) answer('a')
    assert.equal(waiting.length, 99)
    assert.equal(stream.reading, true)
  })

  it('reads nothing while the client does not take its answers', () => {
    const { waiting, stream, connection, asks } = scene()
    stream.writableNeedDrain = true
    asks(1)
    assert.deepEqual([waiting.length, stream.reading], [0, false])
    stream.writableNeedDrain = false
    connection.continue()
    assert.deepEqual([waiting.length, stream.reading], [1, true])
  })

  it('is given up when there is no answer', () => {
    const { done, waiting, stream, asks, answer } = scene()
    asks(2)
    waiting.shift()?.(undefined)
    assert.equal(stream.destroyed, true)
    answer('late')
    assert.deepEqual(done, [])
  })
})
