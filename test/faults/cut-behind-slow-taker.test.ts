import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startDockerHub } from '../support/docker-hub.ts'
import type { Fault } from '../support/hub-faults.ts'
import { pseudoRandomBytes } from '../support/images.ts'
import { until } from '../support/settle.ts'
import { failsWith, transportTo } from '../upstream/fixtures.ts'

const mebibyte = 1024 * 1024
const size = 16 * mebibyte
/** More than waits for a taker. */
const cutAfter = 7 * mebibyte
const cuts: Readonly<Record<string, Fault>> = {
  'F1 a reset': { cutAfter, cutWith: 'rst' },
  'F1 an early end': { cutAfter, cutWith: 'fin' },
  'F4 a short body': { shortBy: size - cutAfter },
}

for (const [what, fault] of Object.entries(cuts))
  for (const isChunked of [false, true])
    test(`${what} of a body ${isChunked ? 'without' : 'with'} a length while its taker is slow: nothing of what came is lost`, async (t) => {
      await using hub = await startDockerHub({ auth: 'none', cdn: false })
      const blob = hub.addBlob('library/app', pseudoRandomBytes(size, what))
      hub.fault({ digest: blob.digest }, { ...fault, ...(isChunked && { contentLength: 'none' as const }) })
      const url = new URL(`${hub.url}/v2/library/app/blobs/${blob.digest}`)
      const response = await transportTo(t, hub.url).request({ method: 'GET', url, isLent: true })
      const body = response.lent()
      let received = (await body.next()).value?.length ?? 0
      // As long as it takes until the sender is done, or held back.
      let sent = -1
      await until(
        () => {
          const isAtRest = hub.bytesSent() === sent
          sent = hub.bytesSent()
          return isAtRest || sent === cutAfter
        },
        { intervalMs: 300 },
      )
      await failsWith(
        (async () => {
          for await (const lent of body) received += lent.length
        })(),
        'UNREACHABLE',
      )
      assert.equal(received, cutAfter)
    })
