// Neighbours thought of: storage that answers HEAD by 400, 403, 404, 405, 429, 500, 501, by 200 with no length, a
// length of 0, that of an error page, a coded length; storage that has no ranges; that is out of reach; a registry that
// answers HEAD by 400, 403, 405, 500 itself, or by 200 and a length of 0; a registry that refuses both; that redirects
// HEAD and refuses GET; a blob of no bytes; a refusal of HEAD and then GET; storage that refuses GET once.
import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { pull } from '../support/client.ts'
import { blobOf, pseudoRandomBytes, type TestBlob } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'

type Answer = (request: IncomingMessage, response: ServerResponse, blob: TestBlob) => void
type Options = { readonly registry?: Answer; readonly storage?: Answer; readonly blob?: TestBlob }

const plain = blobOf(pseudoRandomBytes(5000, 'blob'))
const empty = blobOf(new Uint8Array())

const serve: Answer = ({ method, headers }, response, { bytes }) => {
  const [, start] = /^bytes=(\d+)-(?:\d*)$/.exec(headers.range ?? '') ?? []
  const end = /-(\d+)$/.exec(headers.range ?? '')?.[1]
  const part =
    start === undefined
      ? bytes
      : bytes.subarray(Number(start), end === undefined ? undefined : Number(end) + 1)
  if (start !== undefined && part.length === 0) {
    return void response.writeHead(416, { 'content-range': `bytes */${bytes.length}` }).end()
  }
  const range = `bytes ${start}-${Number(start) + part.length - 1}/${bytes.length}`
  response.writeHead(start === undefined ? 200 : 206, {
    'content-type': 'application/octet-stream',
    'content-length': part.length,
    ...(start === undefined ? {} : { 'content-range': range }),
  })
  response.end(method === 'HEAD' ? undefined : part)
}
const status =
  (code: number): Answer =>
  (_request, response) =>
    response.writeHead(code, { 'content-type': 'application/xml' }).end('<Error/>')
const onHead =
  (answer: Answer): Answer =>
  (request, response, blob) =>
    (request.method === 'HEAD' ? answer : serve)(request, response, blob)

async function listen(t: TestContext, answer: (request: IncomingMessage, response: ServerResponse) => void) {
  const server = createServer(answer)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const close = () => {
    server.closeAllConnections()
    server.close()
  }
  t.after(close)
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close }
}

/** A registry that redirects to storage unless it is told to do otherwise, and a mirror in front of it. */
async function start(t: TestContext, { registry, storage = serve, blob = plain }: Options) {
  const asked: string[] = []
  const store = await listen(t, (request, response) => {
    asked.push(`storage ${request.method}`)
    storage(request, response, blob)
  })
  const redirect: Answer = (_request, response) =>
    response.writeHead(307, { location: `${store.url}/signed?for=${_request.method}` }).end()
  const upstream = await listen(t, (request, response) => {
    asked.push(`registry ${request.method}`)
    ;(registry ?? redirect)(request, response, blob)
  })
  const mirror = await startMirror({ upstream: upstream.url })
  t.after(() => mirror[Symbol.asyncDispose]())
  const url = `${mirror.url}/v2/team/app/blobs/${blob.digest}`
  return { asked, store, head: () => pull(url, { method: 'HEAD' }), get: () => pull(url) }
}

const told: readonly [what: string, options: Options][] = [
  ...[400, 403, 404, 405, 406, 500, 501, 503].map((code): [string, Options] => [
    `storage answers HEAD by ${code}`,
    { storage: onHead(status(code)) },
  ]),
  ['storage tells no length', { storage: onHead((_, response) => response.writeHead(200).end()) }],
  ['storage tells a length of 0', { storage: onHead(length(0)) }],
  [
    'storage tells the length of an error page',
    { storage: onHead(length(243, { 'content-type': 'text/html' })) },
  ],
  ['storage answers HEAD by a part', { storage: onHead(partOf(`bytes 0-0/${plain.size}`)) }],
  ['storage answers HEAD by a part of who knows what', { storage: onHead(partOf('bytes 0-0/*')) }],
  ['storage tells a coded length', { storage: onHead(length(99, { 'content-encoding': 'gzip' })) }],
  ...[400, 403, 405, 500].map((code): [string, Options] => [
    `the registry answers HEAD by ${code}`,
    { registry: onHead(status(code)) },
  ]),
  ['the registry tells a length of 0', { registry: onHead(length(0)) }],
  ['the registry serves it itself', { registry: serve }],
  ['nothing is odd', {}],
]

function partOf(range: string): Answer {
  return (_request, response) =>
    response.writeHead(206, { 'content-range': range, 'content-length': 1 }).end()
}

function length(bytes: number, headers: Record<string, string> = {}): Answer {
  return (_request, response) => response.writeHead(200, { 'content-length': bytes, ...headers }).end()
}

for (const [what, options] of told) {
  test(`${what}: HEAD of a blob tells its size, and the GET behind it brings the bytes`, async (t) => {
    const { head, get } = await start(t, options)
    const { status: code, headers } = await head()
    assert.deepEqual([code, headers['content-length']], [200, String(plain.size)])
    assert.equal((await get()).digest, plain.digest)
  })
}

test('nothing is odd: HEAD alone is asked', async (t) => {
  const { head, asked } = await start(t, {})
  await head()
  assert.deepEqual(asked, ['registry HEAD', 'storage HEAD'])
})

const untold: readonly [what: string, storage: Answer][] = [
  ['has no ranges and tells no length', (_, response) => response.writeHead(200).end()],
  ['tells no size of the whole', onHeadAndPart(status(403), 'bytes 0-0/*')],
  ['is limited', status(429)],
]

function onHeadAndPart(answer: Answer, range: string): Answer {
  return (request, response, blob) => {
    if (request.method === 'HEAD') return answer(request, response, blob)
    response.writeHead(206, { 'content-range': range }).end('x')
  }
}

for (const [what, storage] of untold) {
  test(`storage ${what}: HEAD of a blob says yes, without a size`, async (t) => {
    const { head } = await start(t, { storage })
    const { status: code, headers } = await head()
    assert.deepEqual([code, headers['content-length']], [200, undefined])
  })
}

test('storage is out of reach: the registry has said yes', async (t) => {
  const { head, store } = await start(t, {})
  store.close()
  const { status: code, headers } = await head()
  assert.deepEqual([code, headers['content-length']], [200, undefined])
})

test('a limit of the storage is none of the registry: other questions go on', async (t) => {
  const { head, get, asked } = await start(t, { storage: onHead(status(429)) })
  await head()
  assert.equal((await get()).digest, plain.digest)
  assert.equal(asked.at(-2), 'registry GET')
})

test('a blob of no bytes has a size of 0', async (t) => {
  for (const options of [{}, { storage: onHead(status(403)) }, { registry: serve }]) {
    const { head } = await start(t, { ...options, blob: empty })
    assert.equal((await head()).status, 200)
  }
})

for (const code of [400, 403, 405, 501]) {
  test(`a blob of no bytes at a registry that answers HEAD by ${code}, and a range by 416: its size is 0`, async (t) => {
    const { head, get } = await start(t, { registry: onHead(status(code)), blob: empty })
    const { status: told, headers } = await head()
    assert.deepEqual([told, headers['content-length']], [200, '0'])
    assert.equal((await get()).digest, empty.digest)
  })
}

for (const code of [401, 404]) {
  test(`the registry answers HEAD by ${code}: believed and remembered for HEAD, and GET is asked all the same`, async (t) => {
    const { head, get, asked } = await start(t, { registry: onHead(status(code)) })
    assert.equal((await head()).status, 404)
    const before = asked.length
    assert.equal((await head()).status, 404)
    assert.equal(asked.length, before)
    assert.equal((await get()).digest, plain.digest)
  })
}

test('the registry refuses HEAD and GET: there is no such blob', async (t) => {
  const { head, get } = await start(t, { registry: status(403) })
  assert.deepEqual([(await head()).status, (await get()).status], [404, 404])
})

test('storage refuses the bytes once: that is not remembered as the registry having none', async (t) => {
  let isRefusing = true
  const storage: Answer = (request, response, blob) =>
    (isRefusing ? status(403) : serve)(request, response, blob)
  const { get } = await start(t, { storage })
  assert.notEqual((await get()).status, 200)
  isRefusing = false
  assert.equal((await get()).digest, plain.digest)
})
