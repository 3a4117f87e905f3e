import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { blobOf, buildImage, pseudoRandomBytes } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { startSlowLine } from '../support/slow-line.ts'

const mebibyte = 1024 * 1024

test('100 clients on one cold blob behind a slow line: the line carries it once, and all are done in its time', async () => {
  const size = 8 * mebibyte
  const rate = 4 * mebibyte
  await using line = await startSlowLine({ delayMs: 20, rateBytesPerSecond: rate })
  await using hub = await startDockerHub({ line })
  const blob = hub.addBlob('library/app', pseudoRandomBytes(size, 'herd'))
  await using mirror = await startMirror({ upstream: hub.url })
  const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`
  const pulled = await Promise.all(Array.from({ length: 100 }, () => pull(url)))
  for (const { digest, isComplete } of pulled) assert.deepEqual([digest, isComplete], [blob.digest, true])
  assert.ok(hub.bytesSent(blob.digest) <= size * 1.01, `${hub.bytesSent(blob.digest)} bytes upstream`)
  assert.equal(hub.count({ listener: 'cdn', method: 'GET' }), 1)
  assert.ok(hub.count({ method: 'HEAD' }) <= 1, `${hub.count({ method: 'HEAD' })} questions beside it`)
})

test('a blob that is asked for by several routes and offsets at once crosses the line once', async () => {
  const size = 4 * mebibyte
  await using hub = await startDockerHub()
  const bytes = pseudoRandomBytes(size, 'routes')
  const blob = hub.addBlob('library/app', bytes)
  hub.addBlob('other/app', bytes)
  await using mirror = await startMirror({
    config: {
      upstreams: [
        { name: 'docker.io', url: hub.url },
        { name: 'ghcr.io', url: hub.url },
      ],
    },
  })
  using hold = hub.hold({ listener: 'cdn', digest: blob.digest }, size / 2)
  const first = pull(`${mirror.url}/v2/library/app/blobs/${blob.digest}`)
  await hold.reached
  const paths = [
    `app/blobs/${blob.digest}`,
    `library/app/blobs/${blob.digest}?ns=docker.io`,
    `ghcr.io/other/app/blobs/${blob.digest}`,
    `other/app/blobs/${blob.digest}?ns=ghcr.io`,
  ]
  const whole = paths.map((path) => pull(`${mirror.url}/v2/${path}`))
  const offsets = [0, 1000, size / 2 + 7, size - 1]
  const ranges = offsets.map((offset) => {
    const headers = { range: `bytes=${offset}-` }
    return pull(`${mirror.url}/v2/library/app/blobs/${blob.digest}`, { headers })
  })
  hold.release()
  for (const { digest } of await Promise.all([first, ...whole])) assert.equal(digest, blob.digest)
  for (const [index, { status, digest }] of (await Promise.all(ranges)).entries()) {
    assert.deepEqual([status, digest], [206, blobOf(bytes.subarray(offsets[index])).digest])
  }
  assert.equal(hub.bytesSent(blob.digest), size)
})

test('1,000 one-byte ranges of one cold blob cause one fill', async () => {
  const size = 2 * mebibyte
  await using hub = await startDockerHub()
  const bytes = pseudoRandomBytes(size, 'amplification')
  const blob = hub.addBlob('library/app', bytes)
  await using mirror = await startMirror({ upstream: hub.url })
  const answers = await Promise.all(
    Array.from({ length: 1000 }, async (_, index) => {
      const position = (index * 2099) % size
      const { status, digest, received } = await pull(`${mirror.url}/v2/library/app/blobs/${blob.digest}`, {
        headers: { range: `bytes=${position}-${position}` },
      })
      return [status, received, digest === blobOf(bytes.subarray(position, position + 1)).digest]
    }),
  )
  assert.deepEqual(new Set(answers.map(String)), new Set(['206,1,true']))
  assert.equal(hub.bytesSent(blob.digest), size)
})

test('50 pulls of one tag at once: one manifest GET and at most two tokens upstream', async () => {
  await using hub = await startDockerHub()
  const image = buildImage({ layers: [1000] })
  hub.addImage('library/app', 'latest', image)
  await using mirror = await startMirror({ upstream: hub.url })
  const pulled = await Promise.all(
    Array.from({ length: 50 }, () => pull(`${mirror.url}/v2/library/app/manifests/latest`)),
  )
  for (const { digest } of pulled) assert.equal(digest, image.manifest.digest)
  assert.equal(hub.count({ listener: 'registry', method: 'GET', path: /manifests/, status: 200 }), 1)
  assert.ok(hub.tokensIssued <= 2, `${hub.tokensIssued} tokens`)
  const statuses = pulled.map(({ headers }) => headers['x-larder-cache'])
  assert.equal(statuses.filter((status) => status === 'miss').length, 1)
})
