// Blobs of one upstream take turns at its places. Neighbours that were thought of: a turn that is over, one that is not,
// one that nobody else waits for, one that is given in the moment in which nobody wants it any more.
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

for (const left of [true, false]) {
  test(`a turn that comes in the moment in which ${left ? 'all clients leave' : 'the mirror stops'} is given back`, async (t) => {
    const [bytes = assert.fail()] = contents
    for (let steps = 0; steps < 30; steps += 1) {
      const line = new Slots({ places: 1, turnMs: 60_000 })
      const blobs = blobsOver(t, new MemoryBlobStore(), { finishFrom: 2, fetching: { smallBlob: 0 } })
      const source = { ...good('x/x', bytes), turn: line.take.bind(line) }
      const other = await line.take({
        clients: ['other'],
        receivingSince: undefined,
        bytes: 0,
        restingMs: 0,
        end: () => false,
      })
      const leaving = new AbortController()
      const opening = blobs.open(digestOf(bytes), source, { signal: leaving.signal })
      await until(() => line.turnCount === 2)
      other[Symbol.dispose]()
      for (let step = 0; step < steps; step += 1) await Promise.resolve()
      const stopping = left ? leaving.abort(new Error('left')) : blobs[Symbol.asyncDispose]()
      await opening.then(
        ({ reader }) => reader[Symbol.asyncDispose](),
        () => {},
      )
      await stopping
      await until(() => blobs.fillCount === 0 && line.turnCount === 0, {
        what: `its place is given back, left after ${steps} steps`,
      })
    }
  })
}
