// Blobs of one upstream take turns at its places. Neighbours that were thought of: a turn that is over, one that is not,
// one that nobody else waits for.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Source } from '../../src/content/source.ts'
import { Slots } from '../../src/flow/slots.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { assertSameBytes, readAll, testBytes } from '../storage/files/storage-folder.ts'
import { until } from '../support/settle.ts'
import { blobsOver, good } from './scripted-source.ts'

const contents = [61, 62, 63].map((seed) => testBytes(200_000, seed))

/** Pulls all three at once over a line with one place; returns which of them went over it in a row. */
async function pullAll(t: TestContext, turnMs: number): Promise<number[]> {
  const blobs = blobsOver(t, new MemoryBlobStore())
  const line = new Slots({ places: 1, turnMs })
  const allAsked = Promise.withResolvers<void>()
  const inTurn: number[] = []
  let asked = 0
  const sources = contents.map((bytes, index): Source => {
    let isStopped = false
    const source = good('x/x', bytes, async (at) => {
      await allAsked.promise
      if (inTurn.at(-1) !== index) inTurn.push(index)
      if (turnMs === 0 && at > 0) await until(() => isStopped)
    })
    return {
      ...source,
      async open(position, query) {
        asked += 1
        const taking = line.take(query.turn ?? assert.fail(), query.signal)
        if (asked === contents.length) allAsked.resolve()
        const slot = await taking
        const span = await source.open(position, query)
        return {
          ...span,
          stop() {
            isStopped = true
            span.stop()
          },
          async *body() {
            try {
              yield* span.body()
            } finally {
              slot[Symbol.dispose]()
            }
          },
        }
      },
    }
  })
  const opened = await Promise.all(
    contents.map((bytes, index) => blobs.open(digestOf(bytes), sources[index] ?? assert.fail())),
  )
  for (const [index, { reader }] of opened.entries()) {
    assertSameBytes(await readAll(reader), contents[index] ?? assert.fail())
    await reader[Symbol.asyncDispose]()
  }
  return inTurn
}

test('blobs that are asked for at once take turns: each has bytes before the first one is whole', async (t) => {
  const inTurn = await pullAll(t, 0)
  assert.deepEqual(inTurn.slice(0, 4), [0, 1, 2, 0])
})

test('who has a place keeps it for its turn', async (t) => {
  assert.deepEqual(await pullAll(t, 60_000), [0, 1, 2])
})
