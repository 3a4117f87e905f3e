import assert from 'node:assert/strict'
import { get, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http'
import { type TestContext, test } from 'node:test'
import { type DockerHub, startDockerHub } from './docker-hub.ts'
import type { Fault } from './hub-faults.ts'
import { buildImage, pseudoRandomBytes, type TestBlob } from './images.ts'
import { until } from './settle.ts'

const name = 'library/alpine'
const size = 1_000_000
const bytes = pseudoRandomBytes(size, 'faults')

type Outcome = { response: IncomingMessage; body: Buffer; error: NodeJS.ErrnoException | undefined }

/** A hub without tokens and CDN that holds one blob, and closes with the test. */
async function hubWithBlob(t: TestContext): Promise<{ hub: DockerHub; blob: TestBlob; url: string }> {
  const hub = await startDockerHub({ auth: 'none', cdn: false })
  t.after(() => hub.close())
  const blob = hub.addBlob(name, bytes)
  return { hub, blob, url: `${hub.url}/v2/${name}/blobs/${blob.digest}` }
}

async function open(url: string, headers: OutgoingHttpHeaders = {}): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    get(url, { agent: false, headers }, resolve).once('error', reject)
  })
}

/** Reads a response to its end, good or bad, and at most `most` bytes of it. */
async function read(response: IncomingMessage, most = Number.POSITIVE_INFINITY): Promise<Outcome> {
  const parts: Buffer[] = []
  let length = 0
  try {
    for await (const part of response) {
      parts.push(part)
      length += part.length
      if (length >= most) break
    }
  } catch (error) {
    return { response, body: Buffer.concat(parts), error: error as NodeJS.ErrnoException }
  }
  return { response, body: Buffer.concat(parts), error: undefined }
}

async function load(url: string, headers: OutgoingHttpHeaders = {}): Promise<Outcome> {
  return read(await open(url, headers))
}

test('a cut leaves the client exactly the bytes before it, by reset and by end', async (t) => {
  const { hub, blob, url } = await hubWithBlob(t)
  for (const cutWith of ['rst', 'fin'] as const) {
    for (const cutAfter of [0, 1, 65_536, 300_001, size - 1]) {
      hub.reset()
      const fault = hub.fault({ digest: blob.digest }, { cutAfter, cutWith }, { times: 1 })
      const { body, error } = await load(url)
      assert.equal(body.length, cutAfter)
      assert.equal(error?.code, 'ECONNRESET')
      assert.equal(hub.bytesSent(blob.digest), cutAfter)
      assert.equal(fault.hits, 1)
    }
  }
  assert.equal((await load(url)).body.length, size)
})

test('a cut at every multiple: resuming reads everything once', async (t) => {
  const { hub, blob, url } = await hubWithBlob(t)
  hub.fault({ digest: blob.digest }, { cutEvery: 150_000 })
  let have = Buffer.alloc(0)
  while (have.length < size) {
    const { response, body } = await load(url, { range: `bytes=${have.length}-` })
    assert.equal(response.statusCode, 206)
    have = Buffer.concat([have, body])
  }
  assert.deepEqual(new Uint8Array(have), bytes)
  assert.equal(hub.bytesSent(blob.digest), size)
  assert.equal(hub.count({ status: 206 }), 7)
})

test('a stall sends nothing more and keeps the connection open', async (t) => {
  const { hub, blob, url } = await hubWithBlob(t)
  hub.fault({ digest: blob.digest }, { stallAfter: 200_000 })
  const response = await open(url)
  const { body } = await read(response, 200_000)
  assert.equal(body.length, 200_000)
  assert.equal(hub.bytesSent(), 200_000)
  assert.deepEqual(
    hub.requests.map((request) => request.status),
    [200],
  )

  hub.clearFaults()
  hub.fault({}, { stallBeforeHeaders: true })
  const silent = get(url, { agent: false })
  silent.on('error', () => undefined)
  await until(() => hub.count() === 2)
  assert.equal(hub.requests[1]?.status, 0)
  silent.destroy()
  await until(() => hub.requests.every((request) => request.ended))
})

test('a hold lets responses go on when it is released', async (t) => {
  const { hub, blob, url } = await hubWithBlob(t)
  const hold = hub.hold({ digest: blob.digest }, 400_000)
  const whole = load(url)
  const rest = load(url, { range: 'bytes=500000-' })
  assert.equal((await rest).body.length, 500_000, 'a range behind the gate passes')
  await hold.reached
  assert.equal(hold.waiting, 1)
  assert.equal(hub.bytesSent(), 900_000)
  hold.release()
  assert.deepEqual(new Uint8Array((await whole).body), bytes)

  const before = hub.hold({ method: 'GET' })
  const late = load(url)
  await before.reached
  assert.equal(hub.requests.at(-1)?.status, 0)
  before.release()
  assert.equal((await late).response.statusCode, 200)
})

test('a hold lets go of a client that leaves', async (t) => {
  const { hub, blob, url } = await hubWithBlob(t)
  const hold = hub.hold({ digest: blob.digest }, 100)
  const response = await open(url)
  await hold.reached
  response.destroy()
  await until(() => hold.waiting === 0)
  assert.equal(hub.bytesSent(), 100)
})

test('wrong bodies', async (t) => {
  const { hub, url } = await hubWithBlob(t)
  const broken = async (fault: Fault, headers: OutgoingHttpHeaders = {}) => {
    using _ = hub.fault({}, fault)
    return await load(url, headers)
  }
  for (const flipAt of [0, 1, 65_535, size - 1]) {
    const { body } = await broken({ flipAt })
    assert.equal(body.length, size)
    assert.equal(body[flipAt], (bytes[flipAt] ?? 0) ^ 1)
    body[flipAt] = bytes[flipAt] ?? 0
    assert.ok(body.equals(bytes))
  }
  const flippedRange = await broken({ flipAt: 10 }, { range: 'bytes=10-10' })
  assert.equal(flippedRange.body[0], (bytes[10] ?? 0) ^ 1)

  const short = await broken({ shortBy: 1 })
  assert.equal(short.response.headers['content-length'], String(size))
  assert.equal(short.body.length, size - 1)
  assert.equal(short.error?.code, 'ECONNRESET')

  const longer = await broken({ longerBy: 5, contentLength: size + 5 })
  assert.equal(longer.body.length, size + 5)
  assert.equal(longer.error, undefined)
  const excess = await broken({ longerBy: 5 })
  assert.equal(excess.body.length, size, 'the parser stops at Content-Length')

  const promised = await broken({ contentLength: size + 1 })
  assert.equal(promised.error?.code, 'ECONNRESET')
  const chunked = await broken({ contentLength: 'none' })
  assert.equal(chunked.response.headers['content-length'], undefined)
  assert.equal(chunked.body.length, size)

  using _ = hub.fault({}, { endless: true })
  const endless = await open(url)
  assert.ok((await read(endless, 3 * size)).body.length >= 3 * size)
})

test('wrong ranges', async (t) => {
  const { hub, url } = await hubWithBlob(t)
  const broken = async (fault: Fault) => {
    using _ = hub.fault({}, fault)
    const { response, body } = await load(url, { range: 'bytes=100-' })
    return [response.statusCode, response.headers['content-range'], body.length]
  }
  assert.deepEqual(await broken({ ignoreRange: true }), [200, undefined, size])
  const wrong = 'bytes 0-99/1000000'
  assert.deepEqual(await broken({ contentRange: wrong }), [206, wrong, size - 100])
  assert.deepEqual(await broken({ totalSize: 7 }), [206, 'bytes 100-999999/7', size - 100])
})

test('other answers: statuses, challenges, redirects, headers', async (t) => {
  const { hub, url } = await hubWithBlob(t)
  const broken = async (fault: Fault) => {
    using _ = hub.fault({ path: /blobs/ }, fault)
    return await load(url)
  }
  for (const status of [401, 403, 404, 429, 500, 502, 503, 504]) {
    const { response, body } = await broken({ status, retryAfter: 7 })
    assert.equal(response.statusCode, status)
    assert.equal(response.headers['retry-after'], '7')
    assert.match(response.headers['content-type'] ?? '', status < 500 ? /json/ : /html/)
    assert.match(body.toString(), status < 500 ? /"code":"[A-Z_]+"/ : /<html>/)
  }
  const realm = 'http://127.0.0.2:9/token'
  const foreign = await broken({ realm })
  assert.equal(foreign.response.statusCode, 401)
  assert.match(
    foreign.response.headers['www-authenticate'] ?? '',
    /^Bearer realm="http:\/\/127.0.0.2:9\/token"/,
  )
  const two = await broken({ challenges: ['Basic realm="a"', 'Bearer realm="b"'] })
  assert.deepEqual(two.response.headersDistinct['www-authenticate'], ['Basic realm="a"', 'Bearer realm="b"'])
  const away = await broken({ redirectTo: 'file:///etc/passwd' })
  assert.deepEqual([away.response.statusCode, away.response.headers.location], [307, 'file:///etc/passwd'])
  const loop = await broken({ redirectLoop: true })
  assert.equal(loop.response.headers.location, new URL(url).pathname)
  const extra = await broken({ headers: { 'Set-Cookie': ['a=1', 'b=2'], 'Content-Encoding': 'gzip' } })
  assert.deepEqual(extra.response.headers['set-cookie'], ['a=1', 'b=2'])
  assert.equal(extra.response.headers['content-encoding'], 'gzip')
})

test('wrong headers of a manifest', async (t) => {
  const { hub } = await hubWithBlob(t)
  hub.addImage(name, 'latest', buildImage())
  const dockerContentDigest = `sha256:${'0'.repeat(64)}`
  hub.fault({ path: /manifests\/latest/ }, { dockerContentDigest, contentType: 'text/html' })
  const { response } = await load(`${hub.url}/v2/${name}/manifests/latest`)
  assert.equal(response.headers['docker-content-digest'], dockerContentDigest)
  assert.equal(response.headers['content-type'], 'text/html')
})

test('a slow response keeps its rate', async (t) => {
  const { hub, url } = await hubWithBlob(t)
  hub.fault({}, { bytesPerSecond: 4 * size })
  const began = performance.now()
  assert.equal((await load(url)).body.length, size)
  const tookMs = performance.now() - began
  // Never faster; how much slower is the machine's to say, and forty times that is no matter of the machine.
  assert.ok(tookMs > 230 && tookMs < 10_000, `${tookMs} ms instead of 250`)
})

test('faults on content pass over challenges and redirects; `times` counts what they changed', async (t) => {
  const hub = await startDockerHub()
  t.after(() => hub.close())
  const blob = hub.addBlob(name, bytes)
  const fault = hub.fault({ digest: blob.digest }, { cutAfter: 10 }, { times: 1 })
  const url = `${hub.url}/v2/${name}/blobs/${blob.digest}`
  assert.equal((await load(url)).response.statusCode, 401)
  const answer = await load(`${hub.tokenUrl}/token?scope=repository:${name}:pull`)
  const authorization = `Bearer ${JSON.parse(answer.body.toString()).token}`
  const redirect = await load(url, { authorization })
  assert.equal(redirect.response.statusCode, 307)
  assert.equal(fault.hits, 0)
  assert.equal((await load(redirect.response.headers.location ?? '')).body.length, 10)
  assert.equal(fault.hits, 1)
  assert.equal((await load(redirect.response.headers.location ?? '')).body.length, size)
})

test('an aborted client is counted to within one piece', async (t) => {
  const { hub } = await hubWithBlob(t)
  const blob = await hub.addGeneratedBlob(name, { size: 200_000_000, seed: 1 })
  const response = await open(`${hub.url}/v2/${name}/blobs/${blob.digest}`)
  const { body } = await read(response, 1_000_000)
  await until(() => hub.requests.every((request) => request.ended))
  const sent = hub.bytesSent(blob.digest)
  assert.ok(sent >= body.length && sent < 50_000_000, `${sent} sent, ${body.length} received`)
  assert.equal(hub.requests[0]?.bytesSent, sent)
})
