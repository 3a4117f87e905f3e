import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { pino } from 'pino'
import type { BlobRecords } from '../../src/content/blob-records.ts'
import { Blobs, type BlobsOptions } from '../../src/content/blobs.ts'
import type { OpenedSpan, Source, SpanQuery } from '../../src/content/source.ts'
import { Pieces } from '../../src/flow/pieces.ts'
import { parseRepositoryName } from '../../src/oci/repository-name.ts'
import type { BlobStore } from '../../src/storage/blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { type RepositoryKey, repositoryKey } from '../../src/storage/repository-key.ts'
import { UpstreamError } from '../../src/upstream/error.ts'
import { assertReleased, lending } from '../support/lent.ts'

const chunkSize = 20_000

export interface Answer {
  readonly start?: number
  readonly size?: number | undefined
  readonly bytes: Uint8Array
  /** Breaks off before this position. */
  readonly until?: number
  /** Whether it says where the part ends that it sends. */
  readonly tellsEnd?: boolean
  /** Bytes of the body behind that end. */
  readonly surplus?: number
  /** Waits before each chunk; `stopped` resolves where its body is stopped, which ends a wait of a connection. */
  readonly pause?: (position: number, stopped: Promise<void>) => Promise<void>
}

export interface ScriptedSource extends Source {
  readonly repository: RepositoryKey
  /** The positions that were asked for. */
  readonly asked: number[]
  /** Where the asked spans end; undefined: open. */
  readonly ends: (number | undefined)[]
  /** Bytes. */
  given: number
}

export function keyOf(name: string): RepositoryKey {
  return repositoryKey('docker.io', parseRepositoryName(name))
}

/** A source that answers as `answer` says, which may throw. */
export function scripted(
  name: string,
  answer: (position: number, query: SpanQuery, nth: number) => Answer | Promise<Answer>,
): ScriptedSource {
  const source: ScriptedSource = {
    name,
    repository: keyOf(name),
    asked: [],
    ends: [],
    given: 0,
    async open(position, query): Promise<OpenedSpan> {
      source.asked.push(position)
      source.ends.push(query.end)
      const answered = await answer(position, query, source.asked.length)
      const { start = position, size, bytes, until = bytes.length, surplus = 0, pause } = answered
      const stop = Math.min(until, bytes.length, query.end ?? bytes.length)
      const stopped = Promise.withResolvers<void>()
      let isStopped = false
      let isRead = false
      return {
        start,
        end: answered.tellsEnd ? stop : undefined,
        size,
        async *body() {
          isRead = true
          for (let at = start; at < stop && !isStopped; at += chunkSize) {
            await pause?.(at, stopped.promise)
            query.signal.throwIfAborted()
            if (isStopped) return
            const chunk = bytes.subarray(at, Math.min(at + chunkSize, stop))
            source.given += chunk.length
            yield* lending(chunk)
          }
          if (surplus > 0 && !isStopped) yield* lending(Buffer.alloc(surplus))
          if (until < bytes.length && !isStopped) throw new UpstreamError('UNREACHABLE', name, 'it broke off')
        },
        stop: () => {
          isStopped = true
          stopped.resolve()
        },
        discard: () => assert.ok(!isRead, 'a body that is read is not discarded as well'),
      }
    },
  }
  return source
}

/** A source that has the blob. */
export function good(name: string, bytes: Uint8Array, pause?: Answer['pause']): ScriptedSource {
  return scripted(name, () => ({ size: bytes.length, bytes, ...(pause && { pause }) }))
}

/** Resolves when the signal aborts. */
export function abortOf(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}

/** A source that never answers; where it is left it rejects as a connection does. */
export function silent(name: string): ScriptedSource {
  return scripted(name, async (_position, { signal }) => {
    await abortOf(signal)
    throw signal.reason
  })
}

/** The door to bytes over a store, disposed of after the test. */
export function blobsOver(
  t: TestContext,
  store: BlobStore,
  options: Partial<BlobsOptions> & { records?: BlobRecords } = {},
): Blobs {
  const pieces = new Pieces({ isChecked: true })
  const blobs = new Blobs({
    pieces,
    store,
    records: new MemoryCatalog(),
    rate: undefined,
    retries: 1,
    patienceMs: 10_000,
    slowMs: 50,
    logger: pino({ level: 'silent' }),
    ...options,
  })
  t.after(async () => {
    await blobs[Symbol.asyncDispose]()
    assertReleased()
    pieces[Symbol.dispose]()
  })
  return blobs
}
