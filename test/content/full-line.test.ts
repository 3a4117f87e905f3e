import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { type TestContext, test } from 'node:test'
import type { Tag } from '../../src/oci/reference.ts'
import type { RepositoryName } from '../../src/oci/repository-name.ts'
import { pull } from '../support/client.ts'
import { buildImage } from '../support/images.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'
import { clientOf, collect, failsWith, listen, type TestServer } from '../upstream/fixtures.ts'

// A line so full of blobs that the answer to a question takes longer than the patience. Neighbours: answers that come
// late and answers that never come; a manifest, a list of tags, a size, referrers; blobs of the same upstream and of
// another one; blobs that stop while a question waits; the time-out of a connection in place of the patience's.

const image = buildImage({ layers: [200_000] })
const layer = image.layers[0]
const patienceMs = 1000
const busyPatienceMs = 5000

type FullLine = TestServer & {
  /** The answers of questions that wait. */
  readonly waiting: (() => void)[]
  /** Ends the trickle of blobs, and every other sign of the registry. */
  stopBlobs(): void
}

/** A registry whose blobs trickle for as long as they may, and whose other answers wait until they are let go. */
async function fullLine(t: TestContext): Promise<FullLine> {
  const waiting: (() => void)[] = []
  let areFlowing = true
  const trickle = (response: ServerResponse): void => {
    response.writeHead(200, { 'content-length': layer?.bytes.length ?? 0 })
    let sent = 0
    const timer = setInterval(() => {
      if (!areFlowing) return
      response.write(layer?.bytes.subarray(sent, sent + 100))
      sent += 100
    }, 50)
    response.once('close', () => clearInterval(timer))
  }
  const server = await listen(t, (request, response) => {
    if (request.method === 'GET' && request.url?.includes('/blobs/')) return trickle(response)
    // What comes through the line while blobs do tells that the registry is there.
    if (request.url === '/v2/') return void (areFlowing && response.end('{}'))
    waiting.push(() => {
      if (request.url?.includes('/manifests/')) {
        response.setHeader('content-type', image.manifest.mediaType)
        response.setHeader('docker-content-digest', image.manifest.digest)
        response.end(image.manifest.bytes)
      } else if (request.url?.includes('/tags/')) {
        response.setHeader('content-type', 'application/json')
        response.end('{"name":"library/app","tags":["latest"]}')
      } else {
        response.setHeader('content-length', layer?.bytes.length ?? 0)
        response.end()
      }
    })
  })
  const stopBlobs = (): void => {
    areFlowing = false
  }
  return { ...server, waiting, stopBlobs }
}

const upstreamsOf = (...urls: string[]) => ({
  upstreams: urls.map((url, index) => ({ name: index === 0 ? 'docker.io' : `other${index}.test`, url })),
})

type Mirror = TestMirror & { readonly leaving: AbortSignal }

/** A mirror of these upstreams, whose clients leave before it stops, which would wait for them. */
async function mirrorOf(t: TestContext, urls: readonly string[], busyMs = busyPatienceMs): Promise<Mirror> {
  const mirror = await startMirror({
    config: upstreamsOf(...urls),
    limits: { patience: patienceMs },
    busyPatienceMs: busyMs,
  })
  const leave = new AbortController()
  t.after(() => {
    leave.abort()
    return mirror[Symbol.asyncDispose]()
  })
  return { ...mirror, leaving: leave.signal }
}

/** Begins to pull a blob, and waits for its first bytes. */
async function beginBlob({ url, leaving }: Mirror): Promise<void> {
  const response = await fetch(`${url}/v2/library/app/blobs/${layer?.digest}`, { signal: leaving })
  assert.equal(response.status, 200)
  await response.body?.getReader().read()
}

const questions: Readonly<Record<string, { method?: string; path: string }>> = {
  'a manifest': { path: '/v2/library/app/manifests/latest' },
  'a HEAD of a manifest': { method: 'HEAD', path: '/v2/library/app/manifests/latest' },
  'the list of tags': { path: '/v2/library/app/tags/list' },
  'the size of a blob': { method: 'HEAD', path: `/v2/library/app/blobs/${image.config.digest}` },
}

for (const [what, { method = 'GET', path }] of Object.entries(questions)) {
  test(`a line full of blobs: ${what} that takes three times the patience is served`, async (t) => {
    const line = await fullLine(t)
    const mirror = await mirrorOf(t, [line.url])
    await beginBlob(mirror)
    const asked = pull(mirror.url + path, { method })
    const late = setInterval(() => {
      for (const answer of line.waiting.splice(0)) answer()
    }, 3 * patienceMs)
    t.after(() => clearInterval(late))
    const { status, totalMs } = await asked
    assert.equal(status, 200)
    assert.ok(totalMs > 2 * patienceMs, `${totalMs} ms`)
  })
}

test('a line full of blobs: questions without an answer end in time, and do not make the upstream one that is away', async (t) => {
  const line = await fullLine(t)
  const mirror = await mirrorOf(t, [line.url])
  await beginBlob(mirror)
  const asked = await Promise.all(
    ['a', 'b', 'c'].map((name) => pull(`${mirror.url}/v2/library/${name}/manifests/latest`)),
  )
  for (const { status, totalMs, text } of asked) {
    assert.equal(status, 504)
    assert.match(text, /no sign of life for/)
    assert.ok(totalMs >= busyPatienceMs, `${totalMs} ms`)
  }
  assert.deepEqual(mirror.events('upstream cannot be reached: serving what is cached'), [])
})

test('the blobs stop, too: the patience is counted from their last byte, and two questions are enough', async (t) => {
  const line = await fullLine(t)
  const busyMs = 60_000
  const mirror = await mirrorOf(t, [line.url], busyMs)
  await beginBlob(mirror)
  const asked = ['a', 'b'].map((name) => pull(`${mirror.url}/v2/library/${name}/manifests/latest`))
  await until(() => line.waiting.length >= 2)
  line.stopBlobs()
  for (const { status, totalMs } of await Promise.all(asked)) {
    assert.equal(status, 504)
    assert.ok(totalMs < busyMs, `${totalMs} ms`)
  }
  await until(() => mirror.events('upstream cannot be reached: serving what is cached').length === 1)
  const third = await pull(`${mirror.url}/v2/library/c/manifests/latest`)
  assert.equal(third.status, 503)
})

test('a line full of blobs of another upstream: the answer may take its time', async (t) => {
  const [line, other] = [await fullLine(t), await fullLine(t)]
  const mirror = await mirrorOf(t, [line.url, other.url])
  await beginBlob(mirror)
  const asked = pull(`${mirror.url}/v2/app/manifests/latest?ns=other1.test`)
  const late = setInterval(() => {
    for (const answer of other.waiting.splice(0)) answer()
  }, 3 * patienceMs)
  t.after(() => clearInterval(late))
  assert.equal((await asked).status, 200)
})

test('a connection that times out while blobs come in is no outage', async (t) => {
  const line = await fullLine(t)
  const client = clientOf(t, line.url, { stallMs: 300 })
  const repository = 'library/app' as RepositoryName
  const leave = new AbortController()
  assert.ok(layer)
  const blob = await client.blob(repository, layer.digest, { position: 0, signal: leave.signal })
  const reading = collect(blob.body())
  for (let count = 0; count < 3; count += 1) {
    await failsWith(client.manifestDigest(repository, 'latest' as Tag), 'TIMED_OUT')
  }
  assert.equal(client.isReachable, true)
  leave.abort(new Error('enough'))
  await assert.rejects(reading, /enough/)
  blob.discard()
})
