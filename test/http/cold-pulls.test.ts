/**
 * How the bytes of a blob on its way come to its clients: lent from memory, or read into buffers. Thought of: one client, the
 * normal case; several that come together, late, that read nothing for a while; a range; what is stored already.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { GrowingReader } from '../../src/content/growing-reader.ts'
import { BufferPool } from '../../src/http/buffer-pool.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { type PullOptions, pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { pseudoRandomBytes } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'
import { mebibyte } from './request-log-fixture.ts'

const content = pseudoRandomBytes(8 * mebibyte, 'cold')

/** A mirror of one blob, and how many bytes were lent, and buffers taken, since the last look. */
async function stage(t: TestContext) {
  await using all = new AsyncDisposableStack()
  const hub = all.use(await startDockerHub())
  const blob = hub.addBlob('library/app', content)
  // Slow enough for clients to keep up on any machine.
  const mirror = all.use(await startMirror({ upstream: hub.url, config: { 'limits.rate': '20MB/s' } }))
  const counts = { lent: 0, buffers: 0 }
  const { lend } = GrowingReader.prototype
  t.mock.method(
    GrowingReader.prototype,
    'lend',
    async function (this: GrowingReader, ...asked: Parameters<typeof lend>) {
      const lent = await lend.apply(this, asked)
      counts.lent += lent?.length ?? 0
      return lent
    },
  )
  const { acquire } = BufferPool.prototype
  t.mock.method(BufferPool.prototype, 'acquire', function (this: BufferPool, wanted: number) {
    counts.buffers += 1
    return acquire.call(this, wanted)
  })
  const ask = (options?: PullOptions) => pull(`${mirror.url}/v2/library/app/blobs/${blob.digest}`, options)
  const look = () => {
    const looked = { ...counts }
    Object.assign(counts, { lent: 0, buffers: 0 })
    return looked
  }
  const filled = () => until(() => mirror.app.underWay.fills === 0)
  const owned = all.move()
  return { hub, blob, ask, look, filled, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

test('one client of a cold blob is lent its bytes; what is stored is read', async (t) => {
  await using s = await stage(t)
  const cold = await s.ask()
  assert.deepEqual(
    [cold.isComplete, cold.digest, cold.headers['x-larder-cache']],
    [true, s.blob.digest, 'miss'],
  )
  const { lent } = s.look()
  assert.ok(lent > content.length / 2, `${lent}`)
  await s.filled()
  const warm = await s.ask()
  assert.deepEqual([warm.digest, warm.headers['x-larder-cache']], [s.blob.digest, 'hit'])
  const { lent: lentThen, buffers } = s.look()
  assert.equal(lentThen, 0)
  assert.ok(buffers > 0)
})

test('eight clients of one cold blob are lent the same bytes, whole or a range', async (t) => {
  await using s = await stage(t)
  const range = { headers: { range: 'bytes=3000000-6999999' } }
  const pulls = await Promise.all(Array.from({ length: 8 }, (_, n) => s.ask(n % 4 === 3 ? range : {})))
  for (const [n, { status, isComplete, digest }] of pulls.entries()) {
    const expected =
      n % 4 === 3 ? [206, true, digestOf(content.subarray(3e6, 7e6))] : [200, true, s.blob.digest]
    assert.deepEqual([status, isComplete, digest], expected)
  }
  const { lent } = s.look()
  assert.ok(lent > (6 * content.length + 8e6) / 2, `${lent}`)
})

test('clients that leave in the middle, and one that is slow, take nothing from the others', async (t) => {
  await using s = await stage(t)
  using hold = s.hub.hold({ listener: 'cdn', digest: s.blob.digest }, 6 * mebibyte)
  const leaving = [100_000, 2 * mebibyte, 5 * mebibyte].map((leaveAfter) => s.ask({ leaveAfter }))
  const slow = s.ask({ bytesPerSecond: 8 * mebibyte })
  const staying = s.ask()
  for (const { isComplete } of await Promise.all(leaving)) assert.equal(isComplete, false)
  await hold.reached
  // It joins where most is on the disk, and comes to the front.
  const late = s.ask()
  hold.release()
  for (const { isComplete, digest } of await Promise.all([slow, staying, late])) {
    assert.deepEqual([isComplete, digest], [true, s.blob.digest])
  }
})

test('wrong bytes: whoever was lent them is cut before the last one', async (t) => {
  await using s = await stage(t)
  using _ = s.hub.fault({ listener: 'cdn', digest: s.blob.digest }, { flipAt: 7_000_000 })
  const pulls = await Promise.all(Array.from({ length: 4 }, () => s.ask()))
  for (const { isComplete, received } of pulls) assert.ok(!isComplete && received < content.length)
})
