/**
 * Eight clients pull far more than the cache may have, through the whole mirror and real files, watched from outside. Thought
 * of: the limit at any moment; bodies; the metrics and the log; a start with a lower limit; a disk of a share; pulls of what
 * is being evicted.
 */
import assert from 'node:assert/strict'
import { lstatSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { pseudoRandomBytes } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'

const megabyte = 1_000_000
const repository = 'library/app'

/**
 * Bytes of the files of a folder, journals aside. Without a pause: what goes while the others are looked at would count beside
 * what comes in its place. What is renamed from one to the other meanwhile counts once or not at all.
 */
function bytesIn(directory: string): number {
  let bytes = 0
  for (const folder of ['blobs', 'partial']) {
    for (const name of namesIn(join(directory, folder))) {
      if (/journal$|^\./.test(name)) continue
      const stats = lstatSync(join(directory, folder, name), { throwIfNoEntry: false })
      if (stats?.isFile()) bytes += stats.size
    }
  }
  return bytes
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true, encoding: 'utf8' })
  } catch {
    return []
  }
}

/** Looks again and again until it is stopped, and tells the most that it has seen. */
function watch(directory: string) {
  let [most, isOver] = [0, false]
  const watching = (async () => {
    while (!isOver) {
      most = Math.max(most, bytesIn(directory))
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  })()
  return async () => {
    isOver = true
    await watching
    return most
  }
}

test('eight clients pull three times what the cache may have: all bodies are right, the limit is never passed', async () => {
  await using hub = await startDockerHub()
  const sizes = [3000, 90_000, 400_000, 1_500_000]
  const blobs = Array.from({ length: 40 }, (_, index) =>
    hub.addBlob(repository, pseudoRandomBytes(sizes[index % sizes.length] ?? 0, index)),
  )
  const limit = 6 * megabyte
  await using mirror = await startMirror({
    upstream: hub.url,
    config: { 'cache.maxSize': limit, 'cache.minFree': 0, 'limits.downloads': 8 },
  })
  const stop = watch(mirror.directory)
  const failed: string[] = []
  const client = async (nth: number): Promise<void> => {
    for (let index = 0; index < blobs.length; index += 1) {
      // Each in an order of its own; some of them are pulled by several at a time.
      const blob = blobs[(index * 7 + Math.floor(nth / 2) * 31) % blobs.length]
      assert.ok(blob)
      const pulled = await pull(`${mirror.url}/v2/${repository}/blobs/${blob.digest}`)
      if (!pulled.isComplete || pulled.digest !== blob.digest) failed.push(`${blob.digest}: ${pulled.status}`)
    }
  }
  await Promise.all(Array.from({ length: 8 }, (_, nth) => client(nth)))
  const most = await stop()
  assert.deepEqual(failed, [])
  assert.ok(most <= limit, `${most} bytes`)
  assert.ok(most > limit / 2, `${most} bytes`)
  await until(async () => (await mirror.metric('larder_cached_bytes')) <= limit)
  assert.equal(await mirror.metric('larder_cache_limit_bytes'), limit)
  assert.ok((await mirror.metric('larder_evicted_bytes_total')) > 2 * limit)
  assert.ok((await mirror.metric('larder_evicted_blobs_total')) > 20)
  assert.ok(bytesIn(mirror.directory) <= limit)
  assert.ok(mirror.events('evicted what was used longest ago').length >= 1)
  console.info(
    `at most ${most} of ${limit} bytes, ${await mirror.metric('larder_handed_through_total')} handed through`,
  )
})

test('a limit that was lowered holds soon after the start, and what was pushed stays', async () => {
  await using hub = await startDockerHub()
  const blobs = Array.from({ length: 20 }, (_, index) =>
    hub.addBlob(repository, pseudoRandomBytes(200_000, `lower ${index}`)),
  )
  await using first = await startMirror({ upstream: hub.url, config: { 'cache.minFree': 0 } })
  const url = ({ digest }: { digest: string }, { url: at } = first) =>
    `${at}/v2/${repository}/blobs/${digest}`
  for (const blob of blobs) assert.equal((await pull(url(blob))).digest, blob.digest)
  const { directory } = first
  await first.app[Symbol.asyncDispose]()
  const limit = megabyte
  await using second = await startMirror({
    upstream: hub.url,
    directory,
    config: { 'cache.maxSize': limit, 'cache.minFree': 0 },
  })
  for (const blob of blobs) assert.equal((await pull(url(blob, second))).digest, blob.digest)
  await until(() => bytesIn(directory) <= limit)
  assert.ok(bytesIn(directory) > limit / 2)
})
