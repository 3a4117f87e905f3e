import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { pull } from '../support/client.ts'
import { type DockerHub, startDockerHub } from '../support/docker-hub.ts'
import { buildImage, pseudoRandomBytes, type TestBlob } from '../support/images.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'

const image = buildImage({ layers: [pseudoRandomBytes(300_000, 'layer')] })

type Stage = { hub: DockerHub; mirror: TestMirror; blob: TestBlob; blobUrl: string } & AsyncDisposable

async function start(): Promise<Stage> {
  await using all = new AsyncDisposableStack()
  const hub = all.use(await startDockerHub())
  hub.addImage('library/app', 'latest', image)
  const mirror = all.use(await startMirror({ upstream: hub.url }))
  const [blob] = image.layers
  assert.ok(blob)
  const owned = all.move()
  const blobUrl = `${mirror.url}/v2/library/app/blobs/${blob.digest}`
  return { hub, mirror, blob, blobUrl, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

test('GET /v2/ answers as registries do, without a question upstream', async () => {
  await using s = await start()
  for (const path of ['/v2/', '/v2']) {
    const { status, text, headers } = await pull(`${s.mirror.url}${path}`)
    assert.deepEqual([status, text], [200, '{}'])
    assert.equal(headers['content-type'], 'application/json; charset=utf-8')
    assert.equal(headers['content-length'], '2')
    assert.equal(headers['docker-distribution-api-version'], 'registry/2.0')
    assert.equal(headers['x-content-type-options'], 'nosniff')
  }
  assert.equal(s.hub.count(), 0)
})

test('manifests: HEAD has the headers of GET, and costs one GET upstream in all', async () => {
  await using s = await start()
  const url = `${s.mirror.url}/v2/library/app/manifests/latest`
  const head = await pull(url, { method: 'HEAD' })
  const get = await pull(url)
  assert.deepEqual([head.status, head.received, get.digest], [200, 0, image.manifest.digest])
  for (const name of ['content-length', 'content-type', 'docker-content-digest', 'etag']) {
    assert.equal(head.headers[name], get.headers[name], name)
  }
  assert.equal(get.headers['content-type'], image.manifest.mediaType)
  assert.equal(get.headers['content-length'], String(image.manifest.size))
  assert.equal(s.hub.count({ method: 'GET', path: /manifests/, status: 200 }), 1)
})

test('HEAD of a blob that is not here tells its size and downloads nothing', async () => {
  await using s = await start()
  for (const prepare of ['unknown', 'known from a manifest']) {
    if (prepare !== 'unknown') await pull(`${s.mirror.url}/v2/library/app/manifests/latest`)
    const head = await pull(s.blobUrl, { method: 'HEAD' })
    assert.deepEqual([head.status, head.headers['content-length']], [200, String(s.blob.size)], prepare)
    assert.equal(head.headers['x-larder-cache'], 'miss')
  }
  assert.equal(s.hub.bytesSent(s.blob.digest), 0)
  assert.equal(await s.mirror.metric('larder_fills_running'), 0)
})

test('conditional requests: 304 without a body', async () => {
  await using s = await start()
  const paths = [`blobs/${s.blob.digest}`, 'manifests/latest', `manifests/${image.manifest.digest}`]
  for (const path of paths) {
    const url = `${s.mirror.url}/v2/library/app/${path}`
    const { headers } = await pull(url)
    const again = await pull(url, { headers: { 'if-none-match': String(headers.etag) } })
    assert.deepEqual([again.status, again.received], [304, 0], path)
    const other = await pull(url, { headers: { 'if-none-match': '"other"' } })
    assert.equal(other.status, 200)
  }
})

test('ranges: one is served, malformed ones get everything, impossible ones 416', async () => {
  await using s = await start()
  await pull(s.blobUrl)
  const { size, bytes } = s.blob
  const cases: [range: string, status: number, start: number, end: number][] = [
    ['bytes=0-', 206, 0, size],
    ['bytes=0-0', 206, 0, 1],
    ['bytes=100-199', 206, 100, 200],
    ['bytes=-5', 206, size - 5, size],
    [`bytes=${size - 1}-${size + 1000}`, 206, size - 1, size],
    ['bytes=-99999999', 206, 0, size],
    ['bytes=abc', 200, 0, size],
    ['bytes= 0-5', 200, 0, size],
    ['bytes=,0-5', 206, 0, 6],
    ['bytes=-', 200, 0, size],
    ['lines=1-2', 200, 0, size],
    [`bytes=${'0-,'.repeat(1000)}`, 200, 0, size],
    [`bytes=${size}-`, 416, 0, 0],
    ['bytes=18446744073709551615-', 416, 0, 0],
    ['bytes=-0', 416, 0, 0],
    ['bytes=5-3', 416, 0, 0],
    ['bytes=500-0', 416, 0, 0],
    [`bytes=${size + 5}-3`, 416, 0, 0],
  ]
  for (const [range, status, from, to] of cases) {
    const { text: _, ...answer } = await pull(s.blobUrl, { headers: { range } })
    assert.equal(answer.status, status, range)
    if (status === 416) {
      assert.equal(answer.headers['content-range'], `bytes */${size}`)
      continue
    }
    const { digest } = await pull(s.blobUrl)
    assert.equal(digest, s.blob.digest)
    assert.equal(answer.received, to - from, range)
    if (status === 206) assert.equal(answer.headers['content-range'], `bytes ${from}-${to - 1}/${size}`)
  }
  await fc.assert(
    fc.asyncProperty(fc.nat(size - 1), fc.nat(size - 1), async (one, other) => {
      const [from, to] = [Math.min(one, other), Math.max(one, other)]
      const response = await fetch(s.blobUrl, { headers: { range: `bytes=${from}-${to}` } })
      const body = Buffer.from(await response.arrayBuffer())
      assert.ok(body.equals(bytes.subarray(from, to + 1)))
    }),
    { numRuns: 50 },
  )
})

test('If-Range with another entity tag gets everything', async () => {
  await using s = await start()
  const { headers } = await pull(s.blobUrl)
  const range = { range: 'bytes=5-9' }
  assert.equal(
    (await pull(s.blobUrl, { headers: { ...range, 'if-range': String(headers.etag) } })).status,
    206,
  )
  assert.equal((await pull(s.blobUrl, { headers: { ...range, 'if-range': '"x"' } })).status, 200)
})

test('a sha512 digest and a tag of 128 characters are served', async () => {
  await using s = await start()
  const { createHash } = await import('node:crypto')
  const bytes = pseudoRandomBytes(100_000, 'sha512')
  const digest = `sha512:${createHash('sha512').update(bytes).digest('hex')}`
  s.hub.addBlob('library/app', {
    ...s.blob,
    digest: digest as TestBlob['digest'],
    size: bytes.length,
    bytes,
    open: blobOpener(bytes),
  })
  const { status, received, isComplete } = await pull(`${s.mirror.url}/v2/library/app/blobs/${digest}`)
  assert.deepEqual([status, received, isComplete], [200, bytes.length, true])
  const tag = 'a'.repeat(128)
  s.hub.tag('library/app', tag, image.manifest.digest)
  assert.equal((await pull(`${s.mirror.url}/v2/library/app/manifests/${tag}`)).status, 200)
})

test('malformed names, tags, digests and paths are refused and touch no upstream', async () => {
  await using s = await start()
  const hex = 'a'.repeat(64)
  const paths = [
    'library/app/blobs/sha256:../../x',
    `library/app/blobs/SHA256:${hex}`,
    `library/app/blobs/sha256:${hex}0`,
    `library/app/blobs/sha256:${hex.slice(1)}`,
    `library/app/blobs/sha256:${hex.toUpperCase()}`,
    `library/app/blobs/md5:${hex}`,
    'library/app/blobs/sha256:%2e%2e',
    `library/app/blobs/sha256:${hex}%0a`,
    'library/app/manifests/.hidden',
    `library/app/manifests/${'a'.repeat(129)}`,
    'library/app/manifests/a%2fb',
    'Library/app/manifests/latest',
    'library//app/manifests/latest',
    'library/../app/manifests/latest',
    '..%2f..%2fetc/passwd/manifests/x',
    '%00/manifests/x',
    '%c0%ae/manifests/x',
    'a\\b/manifests/x',
    `${'a'.repeat(300)}/manifests/latest`,
    `${`a${'-'.repeat(50_0)}`}/manifests/latest`,
    'library/app/manifests/latest?ns=169.254.169.254',
    'library/app/manifests/latest?ns=docker.io&ns=evil',
    'library/app/manifests/latest?ns=docker.io%2F..',
    'library/app/manifests/latest?ns=http://evil/',
    'library/app/tags/list?n=-1',
    'library/app/tags/list?n=0x10',
    'library/app/tags/list?n=',
    'library/app/tags/list?n=9999999999',
    'library/app/unknown/x',
    'manifests/latest',
  ]
  for (const path of paths) {
    const { status, text } = await rawGet(s.mirror.port, `/v2/${path}`)
    assert.ok(status === 400 || status === 404, `${path}: ${status}`)
    const [error] = JSON.parse(text).errors
    assert.ok(typeof error.code === 'string' && error.message.length > 0, path)
  }
  assert.equal(s.hub.count(), 0)
})

test('writing is refused with a sentence that says where to push', async () => {
  await using s = await start()
  for (const [method, what] of [
    ['POST', 'blobs/uploads/'],
    ['PATCH', 'blobs/uploads/1'],
    ['PUT', 'blobs/uploads/1?digest=x'],
    ['PUT', 'manifests/latest'],
  ] as const) {
    const { status, text } = await pull(`${s.mirror.url}/v2/library/app/${what}`, { method })
    const [error] = JSON.parse(text).errors
    assert.deepEqual([status, error.code], [403, 'DENIED'], `${method} ${what}`)
    assert.match(error.message, /mirrored from docker\.io: push there, or here under a name .* local\/\*\*/)
  }
  assert.equal(s.hub.count(), 0)
})

test('upstream headers are not passed on', async () => {
  await using s = await start()
  s.hub.fault({}, { headers: { 'set-cookie': 'a=b', 'strict-transport-security': 'max-age=1', link: '<x>' } })
  for (const path of ['manifests/latest', `blobs/${s.blob.digest}`]) {
    const { headers } = await pull(`${s.mirror.url}/v2/library/app/${path}`)
    for (const name of ['set-cookie', 'strict-transport-security', 'link'])
      assert.equal(headers[name], undefined)
  }
})

test("a client's Authorization goes nowhere: not upstream, not into the log", async () => {
  await using s = await start()
  const secret = Buffer.from('ann:canary-password').toString('base64')
  const headers = { authorization: `Basic ${secret}`, cookie: 'session=canary-cookie' }
  for (const path of ['', 'library/app/manifests/latest', `library/app/blobs/${s.blob.digest}`, 'x%/y']) {
    await pull(`${s.mirror.url}/v2/${path}`, { headers })
  }
  const sent = JSON.stringify(s.hub.requests.map((request) => request.headers))
  for (const canary of [secret, 'canary']) {
    assert.ok(!sent.includes(canary))
    assert.ok(!s.mirror.log().includes(canary))
  }
  assert.ok(!s.mirror.log().includes('Signature='))
})

test('tags/list is passed through with its pages, and kept', async () => {
  await using s = await start()
  for (const tag of ['v1', 'v2', 'v3']) s.hub.tag('library/app', tag, image.manifest.digest)
  const first = await pull(`${s.mirror.url}/v2/app/tags/list?n=2`)
  assert.deepEqual(JSON.parse(first.text), { name: 'app', tags: ['latest', 'v1'] })
  const next = /^<([^>]+)>; rel="next"$/.exec(String(first.headers.link))?.[1]
  assert.ok(next?.startsWith('/v2/app/tags/list?'))
  const second = await pull(`${s.mirror.url}${next}`)
  assert.deepEqual(JSON.parse(second.text).tags, ['v2', 'v3'])
  assert.equal(second.headers.link, undefined)
  s.hub.reset()
  assert.equal((await pull(`${s.mirror.url}/v2/app/tags/list?n=2`)).headers['x-larder-cache'], 'hit')
  assert.equal(s.hub.count(), 0)
  const none = await pull(`${s.mirror.url}/v2/app/tags/list?n=0`)
  assert.deepEqual([JSON.parse(none.text).tags, none.headers.link], [[], undefined])
  assert.equal((await pull(`${s.mirror.url}/v2/library/none/tags/list`)).status, 404)
})

async function rawGet(port: number, target: string): Promise<{ status: number; text: string }> {
  const { exchange } = await import('../support/raw-http.ts')
  const answer = await exchange(port, `GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
  const [head = '', text = ''] = answer.split('\r\n\r\n')
  return { status: Number(head.split(' ')[1]), text: text.replace(/^[0-9a-f]+\r\n/, '') }
}

function blobOpener(bytes: Uint8Array): TestBlob['open'] {
  return (start) => {
    let position = start
    return {
      read(count) {
        const piece = bytes.subarray(position, position + count)
        position += piece.length
        return piece
      },
    }
  }
}
