import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { pseudoRandomBytes } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'

const mebibyte = 1024 * 1024
const size = 2 * mebibyte

for (const offset of [0, 1, 64 * 1024 - 1, mebibyte, size - 1]) {
  test(`one wrong byte at ${offset}: no client gets a complete body, and the next request succeeds`, async () => {
    await using hub = await startDockerHub()
    const blob = hub.addBlob('library/app', pseudoRandomBytes(size, offset))
    const fault = hub.fault({ listener: 'cdn', digest: blob.digest }, { flipAt: offset })
    await using mirror = await startMirror({ upstream: hub.url })
    const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`
    const bodies = await Promise.all(Array.from({ length: 5 }, () => pull(url)))
    const wrong = bodies.filter(({ isComplete, status }) => isComplete && status < 300)
    assert.equal(wrong.length, 0)
    // It was fetched once, and once more.
    await until(async () => (await mirror.metric('larder_fills_running')) === 0)
    assert.equal(hub.count({ listener: 'cdn', method: 'GET' }), 2)
    assert.deepEqual(await storedFiles(mirror.directory), [])
    fault.remove()
    const next = await pull(url)
    assert.deepEqual([next.digest, next.isComplete], [blob.digest, true])
  })
}

test('a wrong byte once: the second try is right, so the next request is a hit', async () => {
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(size, 'once'))
  hub.fault({ listener: 'cdn', digest: blob.digest }, { flipAt: 5 }, { times: 1 })
  await using mirror = await startMirror({ upstream: hub.url })
  const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`
  await pull(url)
  const next = await pull(url)
  assert.deepEqual([next.digest, next.isComplete], [blob.digest, true])
  assert.equal(hub.bytesSent(blob.digest), 2 * size)
})

test('a small blob with a wrong byte is mended before its headers leave', async () => {
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(2000, 'config'))
  await using mirror = await startMirror({ upstream: hub.url })
  hub.fault({ listener: 'cdn', digest: blob.digest }, { flipAt: 5 }, { times: 1 })
  const mended = await pull(`${mirror.url}/v2/library/app/blobs/${blob.digest}`)
  // Also where its size is not known from a manifest.
  assert.deepEqual([mended.status, mended.digest], [200, blob.digest])
  assert.equal((await pull(`${mirror.url}/v2/library/app/blobs/${blob.digest}`)).digest, blob.digest)
})

test('a range that reaches the end of wrong bytes is not completed either', async () => {
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(size, 'range'))
  hub.fault({ listener: 'cdn', digest: blob.digest }, { flipAt: 1000 })
  await using mirror = await startMirror({ upstream: hub.url })
  const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`
  for (const range of ['bytes=1000-', `bytes=${size - 1}-`, 'bytes=-1']) {
    const answer = await pull(url, { headers: { range } })
    assert.ok(!answer.isComplete || answer.status >= 500, `${range}: ${answer.status}`)
  }
})

test('a part inside of wrong bytes: once whole as it came, and never from an upstream that was caught', async () => {
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(size, 'part'))
  const fault = hub.fault({ listener: 'cdn', digest: blob.digest }, { flipAt: 1000 })
  await using mirror = await startMirror({ upstream: hub.url })
  const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`
  const headers = { range: 'bytes=0-65535' }
  {
    using rest = hub.hold({ listener: 'cdn', digest: blob.digest }, mebibyte)
    // Whoever asks so has a table of contents to compare it with (decision 0059).
    const first = await pull(url, { headers })
    assert.deepEqual([first.status, first.received, first.isComplete], [206, 65_536, true])
    rest.release()
  }
  // All of it is fetched, and found to be wrong.
  await until(async () => (await mirror.metric('larder_fills_running')) === 0)
  for (const range of ['bytes=0-65535', 'bytes=0-9,20-65535']) {
    const again = await pull(url, { headers: { range } })
    assert.ok(!again.isComplete || again.status >= 500, `${range}: ${again.status}`)
  }
  fault.remove()
  const next = await pull(url, { headers })
  assert.deepEqual([next.status, next.isComplete], [206, true])
  assert.equal((await pull(url)).digest, blob.digest)
})

test('an upstream that never sends the right bytes: a client that comes in between is cut as well', async () => {
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(size, 'never'))
  hub.fault({ listener: 'cdn', digest: blob.digest }, { flipAt: 1000 })
  await using mirror = await startMirror({ upstream: hub.url })
  const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`
  for (let round = 0; round < 4; round += 1) {
    const { isComplete, status } = await pull(url)
    assert.ok(!isComplete || status >= 500, `${status} ${isComplete}`)
  }
})

async function storedFiles(directory: string): Promise<string[]> {
  const folders = ['blobs', 'partial'].map(async (name) => {
    const entries = await readdir(join(directory, name), { recursive: true, withFileTypes: true }).catch(
      () => [],
    )
    return entries.filter((entry) => entry.isFile()).map((entry) => entry.name)
  })
  return (await Promise.all(folders)).flat()
}
