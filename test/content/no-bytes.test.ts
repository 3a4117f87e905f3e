/**
 * Bodies of no bytes, where something waits for a first one. Neighbours that were thought of: both algorithms; GET,
 * HEAD, ranges and conditional requests, cold and stored; the size known from a manifest and not; an upstream that
 * answers with Content-Length: 0, with an empty chunked body, with a body that ends with the connection, with 204, by
 * way of storage, late; two clients at once; a partial of no bytes that an earlier process left, of a size that it knew
 * or not; a full disk; an upstream that sends bytes for it; the other way round, no bytes for a blob that has some,
 * with each of these framings, small and large, once and always; manifests, lists of tags and referrers without a
 * byte, and a 304 that nobody asked for.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readdir, stat } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'
import { FileBlobStore } from '../../src/storage/files/file-blob-store.ts'
import { pull } from '../support/client.ts'
import { buildImage, pseudoRandomBytes } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { type PlainRegistry, startPlainRegistry } from '../support/plain-registry.ts'
import { until } from '../support/settle.ts'
import { type Framing, framings, nothing } from './empty-bodies.ts'

const nothing512 = `sha512:${createHash('sha512').digest('hex')}`
/** Milliseconds; far below any time-out on the way. */
const atOnceMs = 15_000
/** Of clients and of the mirror: as usual a busy machine may need as much for what it does at once. */
const patience = { config: { 'limits.patience': '60s' }, patienceMs: 60_000 }

async function stage(answer: Framing) {
  await using all = new AsyncDisposableStack()
  const registry: PlainRegistry = all.use(
    await startPlainRegistry((request, response) => answer(response, request)),
  )
  const mirror = all.use(await startMirror({ upstream: registry.url, ...patience }))
  const owned = all.move()
  return {
    registry,
    mirror,
    blob: (digest: string) => `${mirror.url}/v2/library/app/blobs/${digest}`,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

for (const [name, answer] of Object.entries(framings)) {
  for (const digest of [nothing, nothing512]) {
    test(`a cold blob of no bytes, ${digest.slice(0, 6)}, by ${name}: 200, length 0, verified and stored`, async () => {
      await using s = await stage(answer)
      const pulled = await pull(s.blob(digest))
      assert.deepEqual([pulled.status, pulled.headers['content-length'], pulled.received], [200, '0', 0])
      assert.deepEqual([pulled.isComplete, pulled.headers['docker-content-digest']], [true, digest])
      assert.ok(pulled.totalMs < atOnceMs)
      await until(async () => (await s.mirror.metric('larder_fills_running')) === 0)
      const [algorithm = '', hex = ''] = digest.split(':')
      const file = join(s.mirror.directory, 'blobs', algorithm, hex.slice(0, 2), hex)
      assert.equal((await stat(file)).size, 0)
      assert.deepEqual(await readdir(join(s.mirror.directory, 'partial')), [])
      const before = s.registry.asked.length
      const again = await pull(s.blob(digest))
      assert.deepEqual([again.status, again.headers['x-larder-cache']], [200, 'hit'])
      assert.equal(s.registry.asked.length, before)
    })
  }

  test(`HEAD, ranges and conditions of a cold blob of no bytes, by ${name}`, async () => {
    const etag = `"${nothing}"`
    for (const [options, status, length] of [
      [{ method: 'HEAD' }, 200, '0'],
      [{ headers: { range: 'bytes=0-' } }, 416, undefined],
      [{ headers: { range: 'bytes=0-0' } }, 416, undefined],
      [{ headers: { range: 'bytes=-5' } }, 416, undefined],
      [{ headers: { range: 'bytes=0-', 'if-range': '"other"' } }, 200, '0'],
      [{ headers: { 'if-none-match': etag } }, 304, undefined],
    ] as const) {
      await using s = await stage(answer)
      for (const round of ['cold', 'warm']) {
        const pulled = await pull(s.blob(nothing), options)
        assert.equal(pulled.status, status, `${round} ${JSON.stringify(options)}`)
        if (length !== undefined) assert.equal(pulled.headers['content-length'], length)
        if (status === 416) assert.equal(pulled.headers['content-range'], 'bytes */0')
        assert.ok(pulled.totalMs < atOnceMs)
      }
    }
  })
}

test('two clients, then ten, at once for a blob of no bytes: one question upstream', async () => {
  await using s = await stage(framings['a late answer'] ?? assert.fail())
  const pulled = await Promise.all(Array.from({ length: 10 }, () => pull(s.blob(nothing))))
  for (const { status, isComplete, received } of pulled) {
    assert.deepEqual([status, isComplete, received], [200, true, 0])
  }
  assert.equal(s.registry.asked.filter((line) => line.startsWith('GET')).length, 1)
})

test('a blob of no bytes that a manifest names with its size is served without a question', async () => {
  const image = buildImage({ layers: [new Uint8Array()] })
  assert.equal(image.layers[0]?.digest, nothing)
  await using s = await stage((response, { url = '' }) => {
    if (!url.includes('/manifests/')) return void response.writeHead(404).end()
    response.writeHead(200, { 'content-type': image.manifest.mediaType }).end(image.manifest.bytes)
  })
  assert.equal((await pull(`${s.mirror.url}/v2/library/app/manifests/1`)).status, 200)
  for (const method of ['HEAD', 'GET']) {
    const { status, headers } = await pull(s.blob(nothing), { method })
    assert.deepEqual([status, headers['content-length']], [200, '0'])
  }
})

test('a partial of no bytes that an earlier process left: the pull goes on', async (t) => {
  const { mkdtemp, rm } = await import('node:fs/promises')
  const { tmpdir } = await import('node:os')
  const directory = await mkdtemp(join(tmpdir(), 'larder-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const other = `sha256:${createHash('sha256').update('some bytes').digest('hex')}`
  {
    await using store = await FileBlobStore.open(directory)
    for (const digest of [nothing, other]) {
      const id = digest.replace(':', '-')
      await (await store.partials.open({ id, algorithm: 'sha256' })).suspend(new Error('killed'))
    }
  }
  await using registry = await startPlainRegistry(({ url = '' }, response) => {
    response.end(url.endsWith(nothing) ? '' : 'some bytes')
  })
  await using mirror = await startMirror({ upstream: registry.url, directory })
  for (const [digest, received] of [
    [nothing, 0],
    [other, 10],
  ] as const) {
    const pulled = await pull(`${mirror.url}/v2/library/app/blobs/${digest}`)
    assert.deepEqual([pulled.status, pulled.received, pulled.digest], [200, received, digest])
  }
})

test('an upstream that sends bytes for the blob of no bytes: 502, nothing stored, no hanging', async () => {
  for (const framing of ['length', 'chunked']) {
    await using s = await stage((response) => {
      if (framing === 'length') response.setHeader('content-length', 5)
      else response.write('h')
      response.end(framing === 'length' ? 'hello' : 'ello')
    })
    for (const headers of [{}, { range: 'bytes=0-' }]) {
      const pulled = await pull(s.blob(nothing), { headers })
      assert.equal(pulled.status, 502, framing)
      assert.ok(pulled.totalMs < atOnceMs)
    }
    assert.deepEqual(await readdir(join(s.mirror.directory, 'partial')), [])
  }
})

const bodies = { small: pseudoRandomBytes(3000, 'small'), large: pseudoRandomBytes(300_000, 'large') }
for (const [name, answer] of Object.entries(framings)) {
  for (const [size, bytes] of Object.entries(bodies)) {
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
    const image = buildImage({ layers: [bytes] })
    const manifest = (response: ServerResponse): void => {
      response.writeHead(200, { 'content-type': image.manifest.mediaType }).end(image.manifest.bytes)
    }
    for (const isKnown of [false, true]) {
      const known = isKnown ? 'whose size is known' : 'that nobody has named'
      test(`${name} for a ${size} blob ${known}: refused as wrong, at once, and mended later`, async () => {
        let isWell = false
        await using s = await stage((response, request) => {
          if (request.url?.includes('/manifests/')) manifest(response)
          else if (isWell) response.end(bytes)
          else answer(response, request)
        })
        if (isKnown) await pull(`${s.mirror.url}/v2/library/app/manifests/1`)
        const refused = await pull(s.blob(digest))
        assert.equal(refused.status, 502, refused.text)
        assert.ok(refused.totalMs < atOnceMs, `${refused.totalMs} ms`)
        assert.equal(refused.headers['docker-content-digest'], undefined)
        await until(async () => (await s.mirror.metric('larder_fills_running')) === 0)
        assert.deepEqual(await readdir(join(s.mirror.directory, 'partial')), [])
        isWell = true
        assert.equal((await pull(s.blob(digest))).digest, digest)
      })
    }

    test(`${name} for a ${size} blob, once: the second try brings it, and the client never notices`, async () => {
      let blobGets = 0
      await using s = await stage((response, request) => {
        if (request.url?.startsWith('/v2')) blobGets += 1
        if (blobGets <= 1) answer(response, request)
        else response.end(bytes)
      })
      const pulled = await pull(s.blob(digest))
      assert.deepEqual([pulled.status, pulled.digest, pulled.isComplete], [200, digest, true])
    })
  }
}

test('manifests, lists of tags and referrers of no bytes, and statuses that nobody asked for: answered at once', async () => {
  const odd: Record<string, Framing> = Object.fromEntries(
    [304, 400, 405, 410, 416].map((status) => [status, (response) => void response.writeHead(status).end()]),
  )
  for (const [name, answer] of Object.entries({ ...framings, ...odd })) {
    await using s = await stage(answer)
    for (const path of ['manifests/latest', `manifests/${nothing}`, 'tags/list', `referrers/${nothing}`]) {
      for (const method of ['GET', 'HEAD']) {
        const { status, totalMs } = await pull(`${s.mirror.url}/v2/library/app/${path}`, { method })
        const isList = path.startsWith('referrers')
        assert.ok(isList ? status === 200 : status >= 400, `${name}: ${method} ${path} is ${status}`)
        assert.ok(totalMs < atOnceMs, `${name}: ${method} ${path} took ${totalMs} ms`)
      }
    }
    if (!(name in odd)) continue
    const { status, totalMs } = await pull(s.blob(nothing))
    assert.ok(status >= 400 && totalMs < atOnceMs, `${name}: ${status} after ${totalMs} ms`)
  }
})
