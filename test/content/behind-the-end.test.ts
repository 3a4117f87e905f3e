// A body goes on behind the end that its answer tells. Neighbours that were thought of: the end of the part is told, the
// size of the blob, both; the first question is for all of it, for a part at its beginning, in its middle, at its end; the
// surplus is small, or as long as the blob; it comes once, or each time.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import type { ByteInterval } from '../../src/storage/ranges.ts'
import { UpstreamError } from '../../src/upstream/error.ts'
import { assertSameBytes, readAll, testBytes } from '../storage/files/storage-folder.ts'
import { until } from '../support/settle.ts'
import { blobsOver, scripted } from './scripted-source.ts'

const size = 131_072
const content = testBytes(size, 71)
const digest = digestOf(content)

const parts: Readonly<Record<string, ByteInterval | undefined>> = {
  'all of it': undefined,
  'its beginning': { start: 0, end: 6000 },
  'its middle': { start: 53_266, end: 59_420 },
  'its end': { start: size - 6000, end: size },
}

for (const [what, part] of Object.entries(parts))
  for (const tells of [['end', 'size'], ['size'], ['end']] as const)
    for (const surplus of [1, 65_061, size])
      for (const times of [1, Number.POSITIVE_INFINITY])
        test(`${what} is asked for first, the ${tells.join(' and the ')} told, ${surplus} bytes come behind it ${times === 1 ? 'once' : 'each time'}: nothing is taken of them`, async (t) => {
          const store = new MemoryBlobStore()
          const blobs = blobsOver(t, store, { retries: 8 })
          const source = scripted('x/x', (position, _, nth) => {
            if (position >= size) throw new UpstreamError('INVALID_RESPONSE', 'x/x', 'range', { status: 416 })
            return {
              size: tells.some((one) => one === 'size') ? size : undefined,
              tellsEnd: tells.some((one) => one === 'end'),
              bytes: content,
              surplus: nth > times ? 0 : surplus,
            }
          })
          if (part) {
            const { reader } = await blobs.open(digest, source, { ranges: [part] })
            await reader[Symbol.asyncDispose]()
          }
          const { reader } = await blobs.open(digest, source)
          const bytes = await readAll(reader)
          await reader.verified()
          await reader[Symbol.asyncDispose]()
          assertSameBytes(bytes, content)
          await until(() => blobs.fillCount === 0)
          const questions = source.asked.length
          assert.ok(questions <= 4, `asked ${questions} times, at ${source.asked}`)
        })
