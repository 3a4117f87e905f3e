import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { type TestContext, test } from 'node:test'
import { buildImage } from '../support/images.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'
import { listen } from '../upstream/fixtures.ts'

// Neighbours: each kind of question; the registry, its token service, an answer that has begun; one of two clients, both;
// a copy that is here, which the mirror checks for itself.

const image = buildImage({ layers: [1000] })

/** What is asked, and how many requests its upstream sees for it; of what refers to a manifest the API and the tag are asked at once. */
const questions: Readonly<Record<string, readonly [method: string, path: string, asked: number]>> = {
  'a manifest by tag': ['GET', 'manifests/latest', 1],
  'a HEAD of a manifest': ['HEAD', 'manifests/latest', 1],
  'a manifest by digest': ['GET', `manifests/${image.manifest.digest}`, 1],
  'the tags': ['GET', 'tags/list', 1],
  'the size of a blob': ['HEAD', `blobs/${image.config.digest}`, 1],
  referrers: ['GET', `referrers/${image.manifest.digest}`, 2],
}

/**
 * A registry, or token service, that says nothing; tells how many questions came, and how many of them were given up.
 * Whether it is there at all, as the silence of a busy machine has it asked, it answers.
 */
async function silent(t: TestContext, begin: (response: ServerResponse) => void = () => {}) {
  let [asked, given] = [0, 0]
  const { url } = await listen(t, (request, response) => {
    if (request.url === '/v2/') return void response.end('{}')
    asked += 1
    response.once('close', () => {
      given += 1
    })
    begin(response)
  })
  return { url, asked: () => asked, givenUp: () => given }
}

async function mirrorOf(t: TestContext, upstream: string, config = {}): Promise<TestMirror> {
  const mirror = await startMirror({ upstream, config: { 'limits.patience': '60s', ...config } })
  t.after(() => mirror[Symbol.asyncDispose]())
  return mirror
}

/** Asks; `leave` ends it as a client does who goes away. */
function ask(mirror: TestMirror, [method, path]: readonly [string, string, number?]) {
  const leaving = new AbortController()
  const url = `${mirror.url}/v2/library/app/${path}`
  const answer = fetch(url, { method, signal: leaving.signal }).then(async (response) => {
    await response.arrayBuffer()
    return response.status
  })
  answer.catch(() => {})
  return { answer, leave: () => leaving.abort() }
}

for (const [what, question] of Object.entries(questions)) {
  test(`${what}: the upstream is let go when the last client has left, not before`, async (t) => {
    const registry = await silent(t)
    const mirror = await mirrorOf(t, registry.url)
    const [first, second] = [ask(mirror, question), ask(mirror, question)]
    const [, , asked] = question
    await until(() => registry.asked() === asked)
    await until(() => mirror.app.underWay.requests === 2)
    first.leave()
    await until(() => mirror.app.underWay.requests === 1)
    assert.equal(registry.givenUp(), 0)
    second.leave()
    await until(() => registry.givenUp() === asked)
    assert.equal(registry.asked(), asked, 'nothing is asked for nobody')
  })

  test(`${what}: so is a token service`, async (t) => {
    const tokens = await silent(t)
    const challenge = { 'www-authenticate': `Bearer realm="${tokens.url}/token",service="silent"` }
    const registry = await listen(t, (_request, response) => response.writeHead(401, challenge).end())
    const mirror = await mirrorOf(t, registry.url)
    const one = ask(mirror, question)
    await until(() => tokens.asked() > 0)
    one.leave()
    await until(() => tokens.givenUp() === tokens.asked())
  })
}

test('an answer that has begun is not read to its end for nobody', async (t) => {
  const registry = await silent(t, (response) => {
    response.writeHead(200, { 'content-type': image.manifest.mediaType, 'content-length': 1_000_000 })
    response.write('{')
  })
  const mirror = await mirrorOf(t, registry.url)
  const one = ask(mirror, ['GET', 'manifests/latest'])
  await until(() => registry.asked() > 0)
  one.leave()
  await until(() => registry.givenUp() === 1)
})

test('a copy is checked for the mirror itself, whoever leaves', async (t) => {
  let answer: (() => void) | undefined
  const registry = await listen(t, (request, response) => {
    response.writeHead(200, {
      'content-type': image.manifest.mediaType,
      'docker-content-digest': image.manifest.digest,
    })
    // By no connection that is kept, beside which the same is asked where it is silent for some seconds.
    response.shouldKeepAlive = false
    if (request.method === 'GET') response.end(image.manifest.bytes)
    else answer = () => response.end()
  })
  const mirror = await mirrorOf(t, registry.url, { 'cache.revalidate': 0, 'cache.staleAfter': '60s' })
  assert.equal(await ask(mirror, ['GET', 'manifests/latest']).answer, 200)
  const leaving = ask(mirror, ['GET', 'manifests/latest'])
  await until(() => answer !== undefined)
  leaving.leave()
  await until(() => mirror.app.underWay.requests === 0)
  const staying = ask(mirror, ['GET', 'manifests/latest'])
  await until(() => mirror.app.underWay.requests === 1)
  answer?.()
  assert.equal(await staying.answer, 200)
  const heads = registry.requests.filter(({ method }) => method === 'HEAD')
  assert.equal(heads.length, 1, 'it was asked once, for both')
})
