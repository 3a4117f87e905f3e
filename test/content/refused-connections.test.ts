// An upstream that gives one connection at a time, and refuses each further one at once: the one brings the blob, and the
// others are not tried again and again. Neighbours that were thought of: a 429, a 503, a 403, a reset.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { delay } from '../../src/flow/abortable.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { UpstreamError } from '../../src/upstream/error.ts'
import { assertSameBytes, readAll, testBytes } from '../storage/files/storage-folder.ts'
import { blobsOver, scripted } from './scripted-source.ts'

const bytes = testBytes(1_500_000, 98)
const digest = digestOf(bytes)
const fetching = { firstSpan: 200_000, smallestSpan: 50_000, spanMs: 300 }

const refusals = {
  'a 429': new UpstreamError('RATE_LIMITED', 'x', 'it limits us', { status: 429, retryAfterSeconds: 3600 }),
  'a 503': new UpstreamError('SERVER_ERROR', 'x', 'it is busy', { status: 503 }),
  'a 403': new UpstreamError('FORBIDDEN', 'x', 'it refuses', { status: 403 }),
  'a reset': new UpstreamError('UNREACHABLE', 'x', 'it broke off'),
}

for (const [name, refusal] of Object.entries(refusals))
  test(`further connections get ${name}: they are not asked for again at once`, async (t) => {
    const blobs = blobsOver(t, new MemoryBlobStore(), { fetching, slowMs: 60_000 })
    let active = 0
    let refused = 0
    const source = scripted('x/x', () => {
      if (active > 0) {
        refused += 1
        throw refusal
      }
      return { bytes, size: bytes.length, pause: () => delay(20) }
    })
    const open = source.open.bind(source)
    source.open = async (...asked) => {
      const span = await open(...asked)
      active += 1
      const body = span.body.bind(span)
      return {
        ...span,
        async *body() {
          try {
            yield* body()
          } finally {
            active -= 1
          }
        },
      }
    }
    const { reader } = await blobs.open(digest, source, { size: bytes.length })
    assertSameBytes(await readAll(reader), bytes)
    await reader[Symbol.asyncDispose]()
    assert.ok(refused > 0 && refused < 5, `${refused} refusals`)
    assert.equal(source.given, bytes.length)
  })
