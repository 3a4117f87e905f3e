import assert from 'node:assert/strict'
import dns from 'node:dns'
import type { RequestListener, ServerResponse } from 'node:http'
import { syncBuiltinESMExports } from 'node:module'
import type { Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { digestOf } from '../../src/oci/digest.ts'
import { atOnceMs } from '../support/at-once.ts'
import { pull } from '../support/client.ts'
import { buildImage } from '../support/images.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'
import { listen, type TestServer } from '../upstream/fixtures.ts'

// Neighbours: a registry that hangs, from the start, behind its challenge, in the middle of an answer; a token service
// that hangs; a name server that swallows questions; a manifest, a list of tags, the size of a blob; a copy that is
// here; the same name again, another name; a line that is slow in every step and yet alive.

const image = buildImage({ layers: [1000] })
const patienceMs = 1000
/** Where what takes less is told from it by the clock: a machine that is busy takes its time as well. */
const longPatienceMs = 4000

async function mirrorOf(t: TestContext, url: string, ms = patienceMs): Promise<TestMirror> {
  const mirror = await startMirror({
    upstream: url,
    config: { 'limits.patience': ms / 1000, 'cache.revalidate': 0 },
  })
  t.after(() => mirror[Symbol.asyncDispose]())
  return mirror
}

const manifestPath = (name: string) => `/v2/library/${name}/manifests/latest`

function sendManifest(response: ServerResponse): void {
  response.setHeader('content-type', image.manifest.mediaType)
  response.setHeader('docker-content-digest', image.manifest.digest)
  response.end(image.manifest.bytes)
}

/** A registry that answers nothing until it is let, and everything then. */
async function hangingRegistry(t: TestContext): Promise<{ registry: TestServer; release: () => void }> {
  const waiting: (() => void)[] = []
  let isReleased = false
  const registry = await listen(t, (request, response) => {
    const answer = (): void => {
      if (request.url?.includes('/manifests/')) sendManifest(response)
      else response.end('{}')
    }
    if (isReleased) answer()
    else waiting.push(answer)
  })
  const release = (): void => {
    isReleased = true
    for (const answer of waiting.splice(0)) answer()
  }
  return { registry, release }
}

test('a registry that hangs: a client of a name that nobody knows is told so after the patience, and the answer is kept for the next', async (t) => {
  const { registry, release } = await hangingRegistry(t)
  const mirror = await mirrorOf(t, registry.url, longPatienceMs)
  const first = await pull(mirror.url + manifestPath('app'))
  assert.equal(first.status, 504)
  assert.match(first.text, /docker\.io: no sign of life for \d+ s; the question goes on/)
  assert.ok(first.totalMs >= longPatienceMs - 10, `${first.totalMs} ms`)
  const again = await pull(mirror.url + manifestPath('app'))
  assert.deepEqual(
    [again.status, again.totalMs < longPatienceMs - 100],
    [504, true],
    'who asks for the same does not wait again',
  )
  release()
  const pulled = await untilServed(mirror, 'app')
  assert.equal(pulled.digest, image.manifest.digest)
  const asked = registry.requests.filter(({ url }) => url.includes('/app/manifests/'))
  assert.ok(asked.length <= 2, `${asked.length} questions: the first, and a check of the tag at most`)
})

test('two questions without a sign of life: everybody is answered at once, until the registry is back', async (t) => {
  const { registry, release } = await hangingRegistry(t)
  const mirror = await mirrorOf(t, registry.url, longPatienceMs)
  const both = await Promise.all(['a', 'b'].map((name) => pull(mirror.url + manifestPath(name))))
  assert.deepEqual(
    both.map(({ status }) => status),
    [504, 504],
  )
  const third = await pull(mirror.url + manifestPath('c'))
  assert.deepEqual([third.status, third.totalMs < longPatienceMs - 100], [503, true])
  assert.match(
    third.text,
    /cannot be reached: no sign of life for \d+ s; it is not asked before it answers again/,
  )
  assert.doesNotMatch(third.text, /goes on/, 'nothing was asked')
  const [warned] = mirror.events('upstream cannot be reached: serving what is cached')
  assert.match(String(warned?.reason), /^no sign of life for \d+ s$/)
  release()
  await untilServed(mirror, 'c')
})

const questions: Readonly<Record<string, { method?: string; path: string }>> = {
  'the list of tags': { path: '/v2/library/app/tags/list' },
  'the size of a blob': { method: 'HEAD', path: `/v2/library/app/blobs/${image.config.digest}` },
  'a HEAD of a manifest': { method: 'HEAD', path: manifestPath('app') },
  'a manifest by its digest': { path: `/v2/library/app/manifests/${image.manifest.digest}` },
}

for (const [what, { method = 'GET', path }] of Object.entries(questions)) {
  test(`a registry that hangs: ${what} is 504 after the patience`, async (t) => {
    const { registry } = await hangingRegistry(t)
    const mirror = await mirrorOf(t, registry.url)
    const asked = await pull(mirror.url + path, { method })
    assert.equal(asked.status, 504)
    assert.ok(asked.totalMs < atOnceMs, `${asked.totalMs} ms`)
  })
}

test('a registry that hangs in the middle of an answer is no better', async (t) => {
  const registry = await listen(t, (_request, response) => {
    response.setHeader('content-length', image.manifest.bytes.length)
    response.write(image.manifest.bytes.subarray(0, 10))
  })
  const mirror = await mirrorOf(t, registry.url)
  const asked = await pull(mirror.url + manifestPath('app'))
  assert.equal(asked.status, 504)
  assert.ok(asked.totalMs < atOnceMs, `${asked.totalMs} ms`)
})

test('a token service that hangs: everybody who waits for its token is told so after the patience', async (t) => {
  const tokens = await listen(t, () => {})
  const challenge = { 'www-authenticate': `Bearer realm="${tokens.url}/token",service="hanging"` }
  const registry = await listen(t, (_request, response) => response.writeHead(401, challenge).end())
  const mirror = await mirrorOf(t, registry.url)
  const asked = await Promise.all(
    ['latest', '2'].map((tag) => pull(`${mirror.url}/v2/library/app/manifests/${tag}`)),
  )
  for (const { status, totalMs } of asked) {
    assert.equal(status, 504)
    assert.ok(totalMs < atOnceMs, `${totalMs} ms`)
  }
  assert.equal(tokens.requests.length, 1)
})

test('a name server that swallows questions: 504 after the patience, at once after two of them, and files are served meanwhile', async (t) => {
  const { lookup } = dns
  let swallowed = 0
  const swallow = t.mock.method(dns, 'lookup', ((name: string, ...rest: never[]) => {
    if (name !== 'registry.test') return Reflect.apply(lookup, dns, [name, ...rest])
    // For addresses of IPv4 alone it is asked once more where the answer is late.
    const [options] = rest as readonly { readonly family?: number }[]
    if (options?.family === 0) swallowed += 1
  }) as typeof dns.lookup)
  syncBuiltinESMExports()
  t.after(() => {
    swallow.mock.restore()
    syncBuiltinESMExports()
  })
  const mirror = await mirrorOf(t, 'https://registry.test', longPatienceMs)
  const asked = await Promise.all(['a', 'b', 'c'].map((name) => pull(mirror.url + manifestPath(name))))
  for (const { status } of asked) assert.equal(status, 504)
  assert.equal(swallowed, 1, 'one question of one name')
  const next = await pull(mirror.url + manifestPath('d'))
  assert.deepEqual([next.status, next.totalMs < longPatienceMs - 100], [503, true])
})

test('a line that is slow in every step is no dead one: what takes longer than the patience in all succeeds', async (t) => {
  const stepMs = longPatienceMs / 2
  const slowly =
    (answer: RequestListener): RequestListener =>
    (request, response) =>
      void sleep(stepMs).then(() => answer(request, response))
  const tokens = await listen(
    t,
    slowly((_request, response) => void response.end(JSON.stringify({ token: 'slow' }))),
  )
  const challenge = { 'www-authenticate': `Bearer realm="${tokens.url}/token",service="slow"` }
  const registry = await listen(
    t,
    slowly((request, response) => {
      if (request.headers.authorization === undefined) return void response.writeHead(401, challenge).end()
      sendManifest(response)
    }),
  )
  const mirror = await mirrorOf(t, registry.url, longPatienceMs)
  // The second one waits for the first one's token: the same signs of life are good for both.
  const pulls = await Promise.all(
    ['1', '2'].map((tag) => pull(`${mirror.url}/v2/library/app/manifests/${tag}`)),
  )
  for (const { status, totalMs } of pulls) {
    assert.equal(status, 200)
    assert.ok(totalMs > 1.25 * longPatienceMs, `${totalMs} ms`)
  }
})

test('a copy that is here is served as before, and the check that hangs counts', async (t) => {
  const { registry, release } = await hangingRegistry(t)
  release()
  const mirror = await mirrorOf(t, registry.url)
  assert.equal((await pull(mirror.url + manifestPath('app'))).status, 200)
  registry.server.removeAllListeners('request')
  registry.server.on('request', () => {})
  const stale = await pull(mirror.url + manifestPath('app'))
  assert.deepEqual([stale.status, stale.headers['x-larder-cache']], [200, 'stale'])
  assert.ok(stale.totalMs < atOnceMs, `${stale.totalMs} ms`)
})

test('the line changed, and all kept connections lead nowhere: whoever asks gets an answer on a new one', async (t) => {
  const mute = new Set<Socket>()
  const sockets = new Set<Socket>()
  let isHeld = true
  const held: (() => void)[] = []
  const registry = await listen(t, (request, response) => {
    sockets.add(request.socket)
    if (mute.has(request.socket)) return
    if (isHeld) held.push(() => sendManifest(response))
    else if (request.url?.includes('/manifests/')) sendManifest(response)
    else response.end('{}')
  })
  const mirror = await mirrorOf(t, registry.url, longPatienceMs)
  const four = ['a', 'b', 'c', 'd'].map((name) => pull(mirror.url + manifestPath(name)))
  await until(() => held.length === 4)
  isHeld = false
  for (const answer of held) answer()
  await Promise.all(four)
  for (const socket of sockets) mute.add(socket)
  const next = await Promise.all(['e', 'f'].map((name) => pull(mirror.url + manifestPath(name))))
  for (const { status, totalMs } of next) {
    assert.equal(status, 200)
    assert.ok(totalMs < longPatienceMs, `${totalMs} ms`)
  }
  assert.deepEqual(mirror.events('upstream cannot be reached: serving what is cached'), [])
})

async function untilServed(mirror: TestMirror, name: string): Promise<{ digest: string }> {
  const served: { digest: string }[] = []
  await until(
    async () => {
      const answer = await pull(mirror.url + manifestPath(name))
      if (answer.status === 200) served.push(answer)
      return answer.status === 200
    },
    { timeoutMs: 20_000, intervalMs: 50, what: `${name} is served` },
  )
  const [first] = served
  assert.equal(first?.digest, digestOf(image.manifest.bytes))
  return first
}
