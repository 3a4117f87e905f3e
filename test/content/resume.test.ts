import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { partialId } from '../../src/content/fill-options.ts'
import { parseDigest } from '../../src/oci/digest.ts'
import { FileBlobStore } from '../../src/storage/files/file-blob-store.ts'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import type { Fault } from '../support/hub-faults.ts'
import { pseudoRandomBytes } from '../support/images.ts'
import { lent } from '../support/lent.ts'
import { startMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'

const mebibyte = 1024 * 1024

test('20 cuts in 20 MB: the client sees none of them, and no byte is fetched twice', async (t) => {
  const size = 20 * mebibyte
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(size, 'cuts'))
  hub.fault({ listener: 'cdn', digest: blob.digest }, { cutEvery: mebibyte })
  // Where this machine is so slow that further connections seem to help, one that is left has some on its way.
  const config = { 'limits.connections': 1 }
  await using mirror = await startMirror({ upstream: hub.url, config })
  const { digest, isComplete } = await pull(`${mirror.url}/v2/library/app/blobs/${blob.digest}`)
  assert.deepEqual([digest, isComplete], [blob.digest, true])
  const ratio = hub.bytesSent(blob.digest) / size
  t.diagnostic(`upstream bytes ${ratio.toFixed(4)}x, ${hub.count({ listener: 'cdn' })} connections`)
  assert.ok(hub.count({ listener: 'cdn' }) >= 20)
  assert.ok(ratio <= 1.02, `${ratio}x`)
})

test('a stall is left after limits.stall and goes on where it was', async () => {
  const size = 2 * mebibyte
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(size, 'stall'))
  hub.fault({ listener: 'cdn', digest: blob.digest }, { stallAfter: mebibyte }, { times: 1 })
  await using mirror = await startMirror({ upstream: hub.url, config: { 'limits.stall': '1s' } })
  const pulled = await pull(`${mirror.url}/v2/library/app/blobs/${blob.digest}`)
  assert.deepEqual([pulled.digest, pulled.isComplete], [blob.digest, true])
  assert.equal(hub.bytesSent(blob.digest), size)
})

const once: Record<string, Fault> = {
  'an early end of the connection': { cutAfter: mebibyte, cutWith: 'fin' },
  'a short body': { shortBy: 1000 },
  'a longer body': { longerBy: 5000 },
  'no Content-Length': { contentLength: 'none' },
  'a 500 from the CDN': { status: 500 },
  'a 503 with an HTML page': { status: 503 },
  'a reset before the first byte': { cutAfter: 0 },
}
for (const [name, fault] of Object.entries(once)) {
  test(`${name} is mended behind the client's back`, async () => {
    await using hub = await startDockerHub()
    const blob = hub.addBlob('library/app', pseudoRandomBytes(2 * mebibyte, name))
    hub.fault({ listener: 'cdn', digest: blob.digest }, fault, { times: 1 })
    await using mirror = await startMirror({ upstream: hub.url })
    const pulled = await pull(`${mirror.url}/v2/library/app/blobs/${blob.digest}`)
    assert.deepEqual([pulled.status, pulled.digest, pulled.isComplete], [200, blob.digest, true])
    const ratio = hub.bytesSent(blob.digest) / (2 * mebibyte)
    assert.ok(ratio <= 1.02, `${ratio}x`)
  })
}

const onResume: Record<string, Fault> = {
  'a 200 to a Range': { ignoreRange: true },
  'another total size': { totalSize: 12345 },
  'a Content-Range that starts elsewhere': { contentRange: `bytes 5-${2 * mebibyte - 1}/${2 * mebibyte}` },
}
for (const [name, fault] of Object.entries(onResume)) {
  test(`${name} when a cut blob is resumed does no harm`, async () => {
    await using hub = await startDockerHub()
    const blob = hub.addBlob('library/app', pseudoRandomBytes(2 * mebibyte, name))
    hub.fault({ listener: 'cdn', digest: blob.digest }, { cutAfter: mebibyte }, { times: 1 })
    await using mirror = await startMirror({ upstream: hub.url })
    const first = hub.hold({ listener: 'cdn', digest: blob.digest }, mebibyte / 2)
    const pulling = pull(`${mirror.url}/v2/library/app/blobs/${blob.digest}`)
    await first.reached
    hub.fault({ listener: 'cdn', digest: blob.digest }, fault, { times: 1 })
    first.release()
    await pulling
    const next = await pull(`${mirror.url}/v2/library/app/blobs/${blob.digest}`)
    assert.deepEqual([next.digest, next.isComplete], [blob.digest, true])
  })
}

test('an expired URL and an expired token in the middle: a fresh redirect with a fresh token', async () => {
  const size = 4 * mebibyte
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(size, 'expiry'))
  await using mirror = await startMirror({ upstream: hub.url })
  const cut = hub.fault({ listener: 'cdn', digest: blob.digest }, { cutAfter: mebibyte })
  using hold = hub.hold({ listener: 'cdn', digest: blob.digest }, mebibyte / 2)
  const pulling = pull(`${mirror.url}/v2/library/app/blobs/${blob.digest}`)
  await hold.reached
  hub.expireUrls()
  hub.expireTokens()
  hold.release()
  await until(() => hub.count({ listener: 'cdn' }) >= 2)
  cut.remove()
  assert.equal((await pulling).digest, blob.digest)
  assert.equal(hub.bytesSent(blob.digest), size)
  assert.ok(hub.count({ listener: 'registry', path: /blobs/, status: 307 }) >= 2)
})

test('after a restart in the middle the fill goes on where it was', async () => {
  const size = 8 * mebibyte
  const directory = await mkdtemp(join(tmpdir(), 'larder-'))
  try {
    await using hub = await startDockerHub()
    const blob = hub.addBlob('library/app', pseudoRandomBytes(size, 'restart'))
    const hold = hub.hold({ listener: 'cdn', digest: blob.digest }, 5 * mebibyte)
    const config = { 'server.shutdownGrace': '0s' }
    {
      await using mirror = await startMirror({ upstream: hub.url, directory, config })
      const half = Promise.withResolvers<void>()
      const pulling = pull(`${mirror.url}/v2/library/app/blobs/${blob.digest}`, {
        onBytes: (received) => received >= 5 * mebibyte && half.resolve(),
      })
      await half.promise
      await mirror.app[Symbol.asyncDispose]()
      assert.equal((await pulling).isComplete, false)
    }
    hold.release()
    await using mirror = await startMirror({ upstream: hub.url, directory, config })
    const rest = await pull(`${mirror.url}/v2/library/app/blobs/${blob.digest}`, {
      headers: { range: `bytes=${mebibyte}-` },
    })
    assert.deepEqual([rest.status, rest.received], [206, size - mebibyte])
    assert.equal((await pull(`${mirror.url}/v2/library/app/blobs/${blob.digest}`)).digest, blob.digest)
    // What the hub had handed to the kernel when the process went may be counted twice: see `bytesSent`.
    assert.ok(hub.bytesSent(blob.digest) <= size + 256 * 1024)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
})

test('an upstream that never gets on is given up after limits.retries, and what came is kept', async () => {
  const size = 2 * mebibyte
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(size, 'given up'))
  await using mirror = await startMirror({ upstream: hub.url, config: { 'limits.retries': 1 } })
  const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`
  const cut = hub.fault({ listener: 'cdn', digest: blob.digest }, { cutAfter: mebibyte }, { times: 1 })
  using hold = hub.hold({ listener: 'cdn', digest: blob.digest }, mebibyte / 2)
  const pulling = pull(url)
  await hold.reached
  // Its storage is asked again where it was, and the registry after that.
  const down = [
    hub.fault({ listener: 'registry', path: /blobs/ }, { status: 500 }),
    hub.fault({ listener: 'cdn', digest: blob.digest }, { status: 500 }),
  ]
  hold.release()
  assert.equal((await pulling).isComplete, false)
  cut.remove()
  for (const one of down) one.remove()
  assert.equal((await pull(url)).digest, blob.digest)
  assert.equal(hub.bytesSent(blob.digest), size)
})

test('256 KiB are missing in the middle of a blob: no more than these cross the line', async (t) => {
  const size = 20 * mebibyte
  const bytes = pseudoRandomBytes(size, 'hole')
  const hole = { start: 7 * mebibyte, end: 7 * mebibyte + 256 * 1024 }
  const directory = await mkdtemp(join(tmpdir(), 'larder-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', bytes)
  {
    await using store = await FileBlobStore.open(directory)
    const id = partialId(parseDigest(blob.digest))
    const partial = await store.partials.open({ id, algorithm: 'sha256' })
    await partial.write(0, lent(bytes.subarray(0, hole.start)))
    await partial.write(hole.end, lent(bytes.subarray(hole.end)))
    await partial.suspend(new Error('stopped'))
  }
  await using mirror = await startMirror({ upstream: hub.url, directory })
  const pulled = await pull(`${mirror.url}/v2/library/app/blobs/${blob.digest}`)
  assert.deepEqual([pulled.digest, pulled.isComplete], [blob.digest, true])
  assert.equal(await mirror.metric('larder_upstream_received_bytes_total'), hole.end - hole.start)
})
