/**
 * Thought of: more than the bound; a trickle; nothing; a source that fails with something gathered and with nothing; a
 * taker that stops while its source waits, and one that is slow.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { gathered } from '../../src/flow/gathered.ts'

const limit = () => 10

async function* source(...pieces: (number | Error)[]): AsyncGenerator<Uint8Array> {
  for (const piece of pieces) {
    if (piece instanceof Error) throw piece
    yield new Uint8Array(piece)
  }
}

async function sizesOf(pieces: AsyncIterable<Uint8Array>): Promise<number[][]> {
  const sizes: number[][] = []
  for await (const together of gathered(pieces, { limit })) sizes.push(together.map(({ length }) => length))
  return sizes
}

test('pieces come together up to the bound, in order, and none is lost', async () => {
  assert.deepEqual(await sizesOf(source(4, 4, 4, 30, 1)), [[4, 4, 4], [30], [1]])
  assert.deepEqual(await sizesOf(source()), [])
})

test('what comes slowly is handed over at once', async () => {
  const more = Promise.withResolvers<void>()
  const trickle = async function* () {
    yield new Uint8Array(1)
    await more.promise
    yield new Uint8Array(2)
  }
  const pieces = gathered(trickle(), { limit })
  assert.deepEqual(
    (await pieces.next()).value?.map(({ length }: Uint8Array) => length),
    [1],
  )
  more.resolve()
  assert.deepEqual(
    (await pieces.next()).value?.map(({ length }: Uint8Array) => length),
    [2],
  )
  assert.equal((await pieces.next()).done, true)
})

test('what came before a failure is handed over, and then the failure', async () => {
  const pieces = gathered(source(3, 2, new Error('cut')), { limit })
  assert.deepEqual(
    (await pieces.next()).value?.map(({ length }: Uint8Array) => length),
    [3, 2],
  )
  await assert.rejects(pieces.next(), /cut/)
  await assert.rejects(sizesOf(source(new Error('at once'))), /at once/)
})

test('no more is read ahead than the bound, and who stops ends the source', async () => {
  let read = 0
  let isEnded = false
  const endless = async function* () {
    try {
      for (;;) {
        read += 1
        yield new Uint8Array(1)
      }
    } finally {
      isEnded = true
    }
  }
  for await (const together of gathered(endless(), { limit })) {
    assert.equal(together.length, 10)
    for (let count = 0; count < 100; count += 1) await turn()
    break
  }
  assert.ok(read <= 21, String(read))
  assert.ok(isEnded)
})
