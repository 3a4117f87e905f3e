// Neighbours thought of: HEAD answered by 400, 401, 403, 404, 405, 500, 501, 503, by 200 without a digest, with one
// of no algorithm, with one of something else, with a page; the GET behind it says 200 with the same content, 200
// with other content, 304, 404, 500; an outage is no answer (cut, silence, 429): no GET then; many checks at once.
import assert from 'node:assert/strict'
import { createServer, type RequestListener, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { pull } from '../support/client.ts'
import { buildImage } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'

const image = buildImage({ seed: 'one' })
const other = buildImage({ seed: 'two' })

type Head = (response: ServerResponse) => void
type Options = {
  readonly head: Head
  /** Whether GET answers 304 where the client has what there is. */
  readonly conditional?: boolean
  /** `limits.stall`. */
  readonly stall?: string
}

/** A registry without tokens whose HEAD is odd, and a mirror that checks the tag at every pull. */
async function start(t: TestContext, { head, conditional = true, stall = '30s' }: Options) {
  const upstream = { current: image, status: 200, asked: [] as string[] }
  const handler: RequestListener = ({ method = '', url, headers }, response) => {
    // Whether it is there at all is looked into beside that.
    if (url !== '/v2/') upstream.asked.push(method)
    if (method === 'HEAD') return head(response)
    const { digest, mediaType, bytes } = upstream.current.manifest
    if (upstream.status !== 200) return void response.writeHead(upstream.status).end()
    if (conditional && headers['if-none-match'] === `"${digest}"`) return void response.writeHead(304).end()
    response.writeHead(200, { 'content-type': mediaType, 'docker-content-digest': digest }).end(bytes)
  }
  const server = createServer(handler)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const mirror = await startMirror({
    upstream: `http://127.0.0.1:${port}`,
    config: { 'cache.revalidate': 0, 'cache.negative': 0, 'limits.stall': stall },
  })
  t.after(() => mirror[Symbol.asyncDispose]())
  const ask = async () => {
    upstream.asked.length = 0
    const answer = await pull(`${mirror.url}/v2/team/app/manifests/1`)
    return { answer, cache: answer.headers['x-larder-cache'], asked: upstream.asked.join() }
  }
  await ask()
  return { upstream, ask, mirror }
}

const heads: readonly [what: string, head: Head][] = [
  ...[400, 401, 403, 404, 405, 406, 500, 501, 503].map((status): [string, Head] => [
    `is answered by ${status}`,
    (response) => response.writeHead(status, { 'content-type': 'text/plain' }).end(),
  ]),
  ['tells no digest', (response) => response.writeHead(200, { 'content-length': '5' }).end()],
  ['tells a digest that is none', (response) => digestHeader(response, 'sha256:abc')],
  ['tells the digest of something else', (response) => digestHeader(response, `sha256:${'0'.repeat(64)}`)],
  ['is answered by a page', (response) => response.writeHead(200, { 'content-type': 'text/html' }).end()],
  ['is redirected to a page', (response) => response.writeHead(302, { location: 'ftp://x/' }).end()],
]

function digestHeader(response: ServerResponse, digest: string): void {
  response.writeHead(200, { 'docker-content-digest': digest }).end()
}

for (const [what, head] of heads) {
  test(`a HEAD that ${what} decides nothing: the tag that moved is found, and the next check is a GET at once`, async (t) => {
    const { upstream, ask } = await start(t, { head })
    const first = await ask()
    assert.deepEqual(
      [first.answer.digest, first.cache, first.asked],
      [image.manifest.digest, 'revalidated', 'HEAD,GET'],
    )
    upstream.current = other
    const moved = await ask()
    assert.deepEqual([moved.answer.digest, moved.asked], [other.manifest.digest, 'GET'])
    assert.equal((await ask()).asked, 'GET')
  })
}

test('a registry that knows no 304 sends the manifest, which is the one that is here', async (t) => {
  const head: Head = (response) => response.writeHead(405).end()
  const { ask } = await start(t, { head, conditional: false })
  const { answer, asked } = await ask()
  assert.deepEqual([answer.digest, asked], [image.manifest.digest, 'HEAD,GET'])
})

for (const status of [401, 403, 404]) {
  test(`HEAD and GET both say ${status}: believed, but what is here stays served by its digest`, async (t) => {
    const { upstream, ask, mirror } = await start(t, { head: (response) => response.writeHead(status).end() })
    upstream.status = status
    const { answer } = await ask()
    assert.equal(answer.status, 404)
    const byDigest = `${mirror.url}/v2/team/app/manifests/${image.manifest.digest}`
    assert.equal((await pull(byDigest)).digest, image.manifest.digest)
  })
}

test('the GET fails as well: the copy is served, and it is asked by HEAD again', async (t) => {
  const { upstream, ask } = await start(t, { head: (response) => response.writeHead(500).end() })
  upstream.status = 500
  const stale = await ask()
  assert.deepEqual(
    [stale.answer.digest, stale.cache, stale.asked],
    [image.manifest.digest, 'stale', 'HEAD,GET'],
  )
  assert.equal((await ask()).asked, 'HEAD,GET')
})

const outages: readonly [what: string, head: Head][] = [
  ['limited', (response) => response.writeHead(429, { 'retry-after': '60' }).end()],
  ['cut', (response) => response.socket?.resetAndDestroy()],
  ['never answered', () => undefined],
]

for (const [what, head] of outages) {
  test(`a HEAD that is ${what} is an outage: no GET, and the copy is served`, async (t) => {
    const { ask } = await start(t, { head, stall: '1s' })
    const stale = await ask()
    assert.deepEqual([stale.answer.digest, stale.cache], [image.manifest.digest, 'stale'])
    assert.doesNotMatch(stale.asked, /GET/)
  })
}
