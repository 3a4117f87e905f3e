import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { digestHex, digestOf } from '../../src/oci/digest.ts'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { pseudoRandomBytes } from '../support/images.ts'
import { until } from '../support/settle.ts'
import { startLarder } from './support/larder-process.ts'
import { scratchFolder } from './support/scratch-folder.ts'

const mebibyte = 1024 * 1024
/** Bytes. */
const size = 20_000_000

test('kill -9 in the middle of a blob: the next process goes on where it was', {
  timeout: 60_000,
}, async () => {
  await using scratch = await scratchFolder()
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(size, 'kill -9'))
  const { bytes } = blob
  const options = {
    directory: scratch.path,
    upstreams: [{ name: 'docker.io', url: hub.url }],
  }
  const path = `/v2/library/app/blobs/${blob.digest}`
  const slow = hub.fault({ listener: 'cdn', digest: blob.digest }, { bytesPerSecond: 8 * mebibyte })
  await using first = await startLarder(options)
  let killed: Promise<void> | undefined
  const before = await pull(`${first.url}${path}`, {
    onBytes(received) {
      if (received > size / 2) killed ??= first.kill()
    },
  })
  assert.ok(killed, 'the client saw half of the blob')
  await killed
  slow.remove()
  assert.equal(before.isComplete, false)
  assert.ok(before.received < size)
  assert.equal(before.digest, digestOf(bytes.subarray(0, before.received)))

  await using second = await startLarder(options)
  const after = await pull(`${second.url}${path}`, { headers: { range: `bytes=${before.received}-` } })
  assert.equal(after.status, 206)
  assert.equal(after.digest, digestOf(bytes.subarray(before.received)))
  // Two percent, besides what the journal is behind and what was in flight when the process died.
  const upstreamBytes = hub.bytesSent(blob.digest)
  assert.ok(upstreamBytes <= size * 1.02 + 1.5 * mebibyte, `${upstreamBytes} of ${size} bytes`)

  await second.settled()
  const whole = await pull(`${second.url}${path}`)
  assert.deepEqual([whole.digest, whole.headers['x-larder-cache']], [blob.digest, 'hit'])
  assert.equal(hub.bytesSent(blob.digest), upstreamBytes)
  const hex = digestHex(blob.digest)
  const stored = join(scratch.path, 'blobs', 'sha256', hex.slice(0, 2), hex)
  assert.equal(digestOf(await readFile(stored)), blob.digest)
})

test('SIGTERM during a transfer: it takes no new clients, finishes within the grace, and ends with 0', {
  timeout: 60_000,
}, async () => {
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(size, 'SIGTERM'))
  await using mirror = await startLarder({ upstreams: [{ name: 'docker.io', url: hub.url }] })
  using hold = hub.hold({ listener: 'cdn', digest: blob.digest }, size / 2)
  const pulling = pull(`${mirror.url}/v2/library/app/blobs/${blob.digest}`)
  await hold.reached
  const stopping = mirror.stop()
  await until(() => isRefused(`${mirror.url}/healthz`), { what: 'new connections are refused' })
  hold.release()
  const { isComplete, digest } = await pulling
  assert.deepEqual([isComplete, digest], [true, blob.digest])
  assert.equal(await stopping, 0)
})

test('SIGTERM during a transfer that never ends: it is broken off after the grace, and goes on at the next start', {
  timeout: 60_000,
}, async () => {
  await using scratch = await scratchFolder()
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(size, 'grace'))
  const options = {
    directory: scratch.path,
    upstreams: [{ name: 'docker.io', url: hub.url }],
    environment: { MIRROR_SERVER_SHUTDOWN_GRACE: '500ms' },
  }
  const path = `/v2/library/app/blobs/${blob.digest}`
  await using first = await startLarder(options)
  using hold = hub.hold({ listener: 'cdn', digest: blob.digest }, size / 2)
  let received = 0
  const pulling = pull(`${first.url}${path}`, {
    onBytes(bytes) {
      received = bytes
    },
  })
  await until(() => received === size / 2, { what: 'the client has all there is' })
  const startedAt = performance.now()
  assert.equal(await first.stop(), 0)
  const tookMs = performance.now() - startedAt
  assert.ok(tookMs > 400 && tookMs < 10_000, `${tookMs} ms`)
  assert.equal((await pulling).isComplete, false)
  hold.release()
  await using second = await startLarder(options)
  const { digest } = await pull(`${second.url}${path}`)
  assert.equal(digest, blob.digest)
  // A stop in good order loses nothing.
  const upstreamBytes = hub.bytesSent(blob.digest)
  assert.ok(upstreamBytes <= size + mebibyte / 4, `${upstreamBytes} of ${size} bytes`)
})

async function isRefused(url: string): Promise<boolean> {
  try {
    await fetch(url)
    return false
  } catch {
    return true
  }
}
