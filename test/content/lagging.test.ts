// Which connection lags behind, so that another one takes half of what it has before it. Neighbours that were thought of: the
// line is slow, for a moment or for long; our own disk is; both; its end was not asked for; next to nothing is left.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Download } from '../../src/content/download.ts'
import type { Way } from '../../src/content/ways.ts'
import { lending } from '../support/lent.ts'
import { keyOf } from './scripted-source.ts'

const [size, piece] = [1_000_000, 10_000]

for (const { what, pieces, lineMs = 0, diskMs = 0, isClosed = true, isLagging } of [
  { what: 'bytes come at once', pieces: 10, isLagging: false },
  { what: 'the line is slow for a moment', pieces: 10, lineMs: 400, isLagging: false },
  { what: 'the line is slow for long', pieces: 10, lineMs: 700, isLagging: true },
  { what: 'the disk is slow', pieces: 10, diskMs: 5000, isLagging: false },
  { what: 'the disk is slow, and the line as well', pieces: 10, lineMs: 700, diskMs: 5000, isLagging: true },
  { what: 'its end was not asked for', pieces: 10, lineMs: 700, isClosed: false, isLagging: false },
  { what: 'next to nothing is left', pieces: 95, lineMs: 700, isLagging: false },
])
  test(`${what}: it ${isLagging ? 'lags' : 'does not lag'} behind`, async (t) => {
    // Time that this machine takes is not the line's.
    let passedMs = 0
    t.mock.method(performance, 'now', () => passedMs)
    const seen: boolean[] = []
    const way = {
      ignoresRange: false,
      source: {
        name: 'x/x',
        repository: keyOf('x/x'),
        open: async () => ({
          ...{ start: 0, end: size, size },
          async *body() {
            for (let n = 0; n < pieces; n += 1) {
              if (n > 0) passedMs += lineMs
              yield* lending(Buffer.alloc(piece))
            }
            seen.push(download.isLagging)
            download.leave()
          },
          stop() {},
          discard() {},
        }),
      },
    } as unknown as Way
    const download: Download = new Download({
      way,
      span: { start: 0, end: size },
      gapEnd: size,
      isClosed,
      isFurther: false,
      since: 0,
      rate: undefined,
      clients: () => [],
      blob: { background: undefined, isStarved: false, restingMs: 0 },
      onAnswer: async () => size,
      write: async () => {
        passedMs += diskMs
        if (lineMs === 0) assert.equal(download.isLagging, false, 'while it is written')
      },
      signal: t.signal,
    })
    assert.equal(download.isLagging, false)
    await download.run()
    assert.deepEqual(seen, [isLagging])
  })
