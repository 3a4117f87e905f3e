import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { pino } from 'pino'
import { Blobs } from '../../src/content/blobs.ts'
import type { OpenedSpan, Source } from '../../src/content/source.ts'
import { Pieces } from '../../src/flow/pieces.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { RegistryError } from '../../src/oci/error.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { UpstreamError } from '../../src/upstream/error.ts'
import { assertSameBytes, testBytes } from '../storage/files/storage-folder.ts'
import { lending } from '../support/lent.ts'
import { keyOf } from './scripted-source.ts'

// Pieces that wake readers at once: no timer has a say in the order.
const pieceSize = 300_000
const size = 4 * pieceSize
const content = testBytes(size, 91)
const rubbish = testBytes(size, 92)
const digest = digestOf(content)

/** Lets somebody else go first, perhaps. */
type Turn = (what: string) => Promise<void>

/** What an upstream does: it has the blob, has it not, has other bytes, or breaks off once after so many pieces. */
interface Manner {
  readonly kind: 'has it' | 'has it not' | 'lies' | 'breaks off'
  readonly tellsSize: boolean
}

type Actor =
  | { readonly does: 'pull'; readonly upstream: number; readonly leaves: boolean; readonly claims: boolean }
  | { readonly does: 'push' | 'remove' | 'stop' }

const manner: fc.Arbitrary<Manner> = fc.record({
  kind: fc.constantFrom(
    'has it' as const,
    'has it' as const,
    'has it not' as const,
    'lies' as const,
    'breaks off' as const,
  ),
  tellsSize: fc.boolean(),
})
const actor: fc.Arbitrary<Actor> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      does: fc.constant('pull' as const),
      upstream: fc.nat(2),
      leaves: fc.boolean(),
      claims: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ does: fc.constantFrom('push' as const, 'remove' as const, 'stop' as const) }),
  },
)

interface Upstream extends Source {
  given: number
}

function upstreamOf(n: number, { kind, tellsSize }: Manner, turn: Turn): Upstream {
  const name = `upstream ${n}`
  let hasBrokenOff = false
  const upstream: Upstream = {
    name,
    repository: keyOf(`r/${n}`),
    given: 0,
    async open(position, { signal, end = size }): Promise<OpenedSpan> {
      await turn(`${name} answers`)
      signal.throwIfAborted()
      if (kind === 'has it not') throw new UpstreamError('NOT_FOUND', name, 'it has it not', { status: 404 })
      if (position >= size) throw new UpstreamError('INVALID_RESPONSE', name, 'range', { status: 416 })
      const bytes = kind === 'lies' ? rubbish : content
      const stop = kind === 'breaks off' && !hasBrokenOff ? Math.min(end, position + pieceSize) : end
      let isStopped = false
      return {
        start: position,
        size: tellsSize ? size : undefined,
        async *body() {
          for (let at = position; at < stop; at += pieceSize) {
            await turn(`${name} sends`)
            signal.throwIfAborted()
            if (isStopped) return
            upstream.given += pieceSize
            yield* lending(bytes.subarray(at, at + pieceSize))
          }
          if (stop === end) return
          hasBrokenOff = true
          throw new UpstreamError('UNREACHABLE', name, 'it broke off')
        },
        stop: () => {
          isStopped = true
        },
        discard: () => {},
      }
    },
  }
  return upstream
}

/** A client: the right bytes to the end, or a failure that it is told of. */
async function pull(
  blobs: Blobs,
  upstream: Source,
  { leaves, claims }: Actor & { does: 'pull' },
  turn: Turn,
) {
  const leaving = new AbortController()
  const left = leaves
    ? turn('a client leaves').then(() => leaving.abort(new Error('left')))
    : Promise.resolve()
  const { signal } = leaving
  try {
    await turn('a client comes')
    await using opened = (await blobs.open(digest, upstream, { size: claims ? size : undefined, signal }))
      .reader
    const bytes = Buffer.alloc(opened.size)
    for (let at = 0; at < bytes.length; ) {
      const count = await opened.read(bytes.subarray(at, at + 500_000), at, { signal })
      assert.ok(count > 0, 'an end before the end')
      at += count
    }
    await opened.verified({ signal })
    assertSameBytes(bytes, content)
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error
    const isTold = signal.aborted || error instanceof UpstreamError || error instanceof RegistryError
    assert.ok(isTold || /the mirror is stopping/.test(String(error)), String(error))
  } finally {
    await left
  }
}

test('in whatever order: no wrong body to the end, everybody is answered, no byte twice, nothing is left behind', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.scheduler(),
      fc.tuple(manner, manner, manner),
      fc.array(actor, { minLength: 1, maxLength: 5 }),
      async (scheduler, manners, actors) => {
        const turn: Turn = (what) => scheduler.schedule(Promise.resolve(), what)
        const store = new MemoryBlobStore({ step: turn })
        const records = new MemoryCatalog()
        const blobs = new Blobs({
          pieces: new Pieces(),
          store,
          records,
          rate: undefined,
          retries: 1,
          patienceMs: 60_000,
          slowMs: 60_000,
          logger: pino({ level: 'silent' }),
        })
        const upstreams = manners.map((each, n) => upstreamOf(n, each, turn))
        let isPushed = false
        const push = async (n: number) => {
          await turn('a push comes')
          const partial = await blobs.openWriter(`push-${n}`, 'sha256').catch((error) => {
            // Only after a stop.
            assert.equal(error.code, 'UNAVAILABLE')
          })
          if (!partial) return
          await partial.append([content])
          await blobs.seal(partial, digest, (file) => records.sealed(digest, file, Date.now()))
          isPushed = true
        }
        const remove = async () => {
          await turn('a removal comes')
          await blobs.remove(digest, async () => {
            await records.gone(digest)
            return true
          })
        }
        const stop = async () => {
          await turn('the mirror stops')
          await blobs[Symbol.asyncDispose]()
        }
        const all = Promise.all(
          actors.map((each, n) => {
            if (each.does === 'pull') return pull(blobs, upstreams[each.upstream] as Source, each, turn)
            return each.does === 'push' ? push(n) : each.does === 'remove' ? remove() : stop()
          }),
        )
        await scheduler.waitFor(all)
        const quiet = (async () => {
          while (blobs.fillCount > 0) await new Promise(setImmediate)
        })()
        await scheduler.waitFor(quiet)
        const does = new Set(actors.map(({ does }) => does))
        const given = upstreams.reduce((sum, upstream) => sum + upstream.given, 0)
        const isAsked = (n: number) => actors.some((each) => each.does === 'pull' && each.upstream === n)
        const isHonest = manners.every(({ kind }, n) => kind !== 'lies' || !isAsked(n))
        if (isHonest && !does.has('remove')) assert.ok(given <= size, `${given} of ${size} bytes`)
        const left = await store.partials.list()
        if (!does.has('stop') && isHonest) {
          const hasWay = actors.some(
            (each) =>
              each.does === 'pull' && ['has it', 'breaks off'].includes(manners[each.upstream]?.kind ?? ''),
          )
          if (hasWay) assert.deepEqual(left, [])
        }
        // What a push acknowledged is there, unless it was removed.
        if (isPushed && !does.has('remove')) assert.equal((await blobs.stat(digest))?.size, size)
        await scheduler.waitFor(blobs[Symbol.asyncDispose]())
        // Throws where a partial is open still.
        await store[Symbol.asyncDispose]()
      },
    ),
    { numRuns: 300 },
  )
})
