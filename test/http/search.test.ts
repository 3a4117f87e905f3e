/**
 * `/v1/search` and `/v1/_ping` over real sockets. Thought of: what was pushed, what is cached and what the Hub finds, in
 * one list; pages; terms with a registry, a tag, letters that are none of a name; names that no upstream may hear, in odd spellings; a Hub
 * that is slow, gone, refuses, or answers something else; a chain of two mirrors; what the asker may not see.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { pull } from '../support/client.ts'
import { type DockerHub, startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { type MirrorOptions, startMirror, type TestMirror } from '../support/mirror.ts'
import { pushBlob, pushImage, send } from '../support/push.ts'
import { until } from '../support/settle.ts'

const parts = new AsyncDisposableStack()
const image = buildImage({ layers: [100], seed: 'search' })
let hub: DockerHub
let mirror: TestMirror

async function start(options: MirrorOptions = {}): Promise<TestMirror> {
  // As long as the Hub may need on a busy machine, but where it is about one that needs longer.
  const config = { 'cache.staleAfter': '60s', ...options.config }
  const started = await startMirror({ upstream: hub.url, ...options, config })
  for (const name of ['app', 'local/team/secret', 'zoo-app']) {
    await pushImage(`${started.url}/v2/${name}`, 'v1', image)
  }
  await pull(`${started.url}/v2/team/app/manifests/latest`)
  await pull(`${started.url}/v2/alpine/manifests/latest`)
  hub.reset()
  return started
}

before(async () => {
  hub = parts.use(await startDockerHub())
  for (const name of ['library/alpine', 'library/apple', 'team/app', 'team/application']) {
    hub.addImage(name, 'latest', image)
  }
  mirror = parts.use(await start())
})
after(() => parts.disposeAsync())

async function search(query: string, by = mirror, way = '') {
  const { status, text, headers } = await send('GET', `${by.url}${way}/v1/search?${query}`)
  assert.equal(status, 200, text)
  assert.equal(headers['content-type'], 'application/json; charset=utf-8')
  const answer = JSON.parse(text)
  return { ...answer, names: answer.results.map(({ name }: { name: string }) => name) }
}

/** Searches that the Hub heard. */
function heard(): string[] {
  return hub.requests
    .filter(({ url }) => url.startsWith('/v1/search'))
    .map(({ url }) => new URL(url, hub.url).searchParams.get('q') ?? '')
}

test('Docker finds out that it may search here', async () => {
  for (const method of ['GET', 'HEAD']) {
    const { status, text, headers } = await send(method, `${mirror.url}/v1/_ping`)
    assert.deepEqual([status, headers['x-docker-registry-standalone']], [200, 'true'])
    assert.equal(text, method === 'HEAD' ? '' : '{"standalone":true}')
  }
})

test('what was pushed, what is cached and what the Hub finds, the best first', async () => {
  const { names, results, query, num_results, page, page_size, num_pages } = await search('q=app&n=25')
  const expected = ['app', 'docker.io/team/app', 'zoo-app']
  // "app" is pushed here, and no name for anybody else.
  assert.deepEqual(names, expected)
  assert.deepEqual([query, num_results, page, page_size, num_pages], ['app', 3, 1, 25, 1])
  assert.deepEqual(results[0], {
    name: 'app',
    description: 'pushed to this mirror',
    star_count: 0,
    is_official: false,
    is_trusted: false,
    is_automated: false,
  })
  const more = await search('q=ap')
  assert.deepEqual(more.names, [
    'app',
    'zoo-app',
    'docker.io/team/app',
    'docker.io/library/apple',
    'docker.io/team/application',
  ])
  const byName = (name: string) => more.results.find((result: { name: string }) => result.name === name)
  assert.equal(byName('docker.io/team/app').description, 'All about team/app')
  assert.deepEqual(
    [byName('docker.io/library/apple').is_official, byName('docker.io/library/apple').star_count],
    [true, 7],
  )
  for (const name of more.names) {
    assert.equal((await send('GET', `${mirror.url}/v2/${name}/tags/list`)).status, 200, name)
  }
})

test('the Hub is asked once for the same, and hears the term and nothing of whoever asks', async () => {
  await using other = await start()
  const headers = { authorization: `Basic ${Buffer.from('somebody:canary').toString('base64')}` }
  for (let n = 0; n < 3; n += 1) await send('GET', `${other.url}/v1/search?q=%20Apple:latest`, { headers })
  const asked = hub.requests.filter(({ url }) => url.startsWith('/v1/search'))
  assert.deepEqual(
    asked.map(({ url }) => url),
    ['/v1/search?n=100&ns=docker.io&q=apple'],
  )
  assert.doesNotMatch(JSON.stringify(asked), /canary|somebody|authorization/i)
})

test("no upstream hears a name that is this mirror's alone", async () => {
  hub.reset()
  const terms = ['app', 'app:v1', 'local/team/secret', 'local/te', 'local/', 'team/secret', 'secret']
  for (const term of [...terms, 'zoo-app', 'APP', '', ' ', 'ghcr.io/owner/app', 'localhost/app']) {
    await search(`q=${encodeURIComponent(term)}`)
  }
  assert.deepEqual(heard(), [])
  assert.deepEqual((await search('q=secret')).names, ['local/team/secret'])
})

test('nor in any spelling of one that could be meant', async () => {
  hub.reset()
  for (const name of ['app', 'secret', 'team/secret', 'local/team/secret', 'local/new']) {
    const spellings = [
      `/${name}`,
      `//${name}`,
      `${name}/`,
      `/${name}/`,
      `./${name}`,
      `v2/${name}`,
      `/v2/${name}/`,
    ]
    const others = [`library/${name}`, `V2/library/${name}`, `${name}*`, `*${name}`, `"${name}"`, `x ${name}`]
    const more = [
      `${name}:v1/`,
      `${name}@sha256:0`,
      `${name}?`,
      `library/${name}:1`,
      `${name.toUpperCase()}*`,
    ]
    for (const term of [...spellings, ...others, ...more]) await search(`q=${encodeURIComponent(term)}`)
  }
  const odd = [
    'local//team',
    'local\\team',
    'local%2Fteam',
    'a*pp',
    '/local/',
    'v2/local/te',
    'lo*cal/new',
    'local/*',
  ]
  for (const term of odd) await search(`q=${encodeURIComponent(term)}`)
  // What somebody has begun to push.
  await pushBlob(`${mirror.url}/v2/begun`, image.layers[0] ?? image.config)
  for (const term of ['begun', 'begun/', 'library/begun', 'begun*']) await search(`q=${term}`)
  await search(`q=${Array.from({ length: 20 }, (_, n) => `w${n}`).join('+')}`)
  assert.deepEqual(heard(), [])
})

test('what only has such a name in it is searched for', async () => {
  hub.reset()
  const terms = ['team/app', 'library/apple', 'apple/', 'v2/apple', 'apps', 'team/application', 'web server']
  for (const term of terms) await search(`q=${encodeURIComponent(term)}`)
  assert.deepEqual(heard(), terms)
})

test('a name that leads with its registry means that one', async () => {
  assert.deepEqual((await search('q=docker.io/team/app')).names, [
    'docker.io/team/app',
    'docker.io/team/application',
  ])
  assert.deepEqual((await search('q=team/app&ns=docker.io')).names, ['team/app', 'team/application'])
  assert.deepEqual((await search('q=team/app', mirror, '/docker.io')).names, ['team/app', 'team/application'])
  assert.equal((await send('GET', `${mirror.url}/v1/search?q=a&ns=nowhere.test`)).status, 404)
})

test('pages, and what is no number', async () => {
  const all = (await search('q=ap')).names
  const pages: string[] = []
  for (let page = 1; page <= 3; page += 1) pages.push(...(await search(`q=ap&n=2&page=${page}`)).names)
  assert.deepEqual(pages, all)
  assert.deepEqual((await search('q=ap&n=2&page=9')).names, [])
  assert.deepEqual((await search('q=ap&n=0&page=0')).names, all)
  assert.equal((await search('q=ap&n=99999')).page_size, 100)
  for (const query of ['q=a&n=x', 'q=a&n=-1', 'q=a&page=1e3', 'q=a&n=1234567']) {
    const { status, code } = await send('GET', `${mirror.url}/v1/search?${query}`)
    assert.deepEqual([status, code], [400, 'PAGINATION_NUMBER_INVALID'], query)
  }
  assert.equal((await send('GET', `${mirror.url}/v1/search?q=${'x'.repeat(256)}`)).status, 414)
})

test('what is no part of a name finds nothing here, and is nothing to fear', async () => {
  for (const term of ['%', '_', "'", '\u0000', '..', '/../', 'a b', '"', '\\', '😀']) {
    assert.deepEqual((await search(`q=${encodeURIComponent(term)}`)).names, [], term)
  }
})

test('a Hub that is slow holds up what is here for cache.staleAfter, and has its say the next time', {
  timeout: 30_000,
}, async () => {
  await using other = await start({ config: { 'cache.staleAfter': '50ms' }, patienceMs: 600_000 })
  using hold = hub.hold({ path: /v1\/search/ })
  assert.deepEqual((await search('q=ap', other)).names, ['app', 'zoo-app', 'docker.io/team/app'])
  hold.release()
  await until(async () => (await search('q=ap', other)).names.length === 5)
  assert.deepEqual(heard(), ['ap'])
})

for (const [kind, fault] of [
  ['has no search', { status: 404 }],
  ['refuses', { status: 401 }],
  ['has a limit', { status: 429 }],
  ['fails', { status: 500 }],
  ['answers with a page', { status: 200, body: '<html>', headers: { 'content-type': 'text/html' } }],
  ['sends another list', { status: 200, body: '{"results":{}}' }],
] as const) {
  test(`a Hub that ${kind}: what is here is found, and it is asked no more for a while`, async () => {
    await using other = await start()
    using _ = { [Symbol.dispose]: () => hub.clearFaults() }
    hub.fault({ path: /v1\/search/ }, fault)
    assert.deepEqual((await search('q=ap', other)).names, ['app', 'zoo-app', 'docker.io/team/app'])
    assert.deepEqual((await search('q=app-of', other)).names, [])
    assert.deepEqual(heard(), ['ap'])
    assert.equal(other.events('the upstream could not be searched: what is here is told').length, 1)
  })
}

test('without the Hub what is here is found', async () => {
  const gone = parts.use(await startDockerHub())
  gone.addImage('team/app', 'latest', image)
  await using other = await startMirror({ upstream: gone.url })
  await pull(`${other.url}/v2/team/app/manifests/latest`)
  await gone.stop()
  assert.deepEqual((await search('q=app', other)).names, ['docker.io/team/app'])
  assert.deepEqual((await search('q=nothing', other)).names, [])
})

test('a mirror before the mirror: what that finds at the Hub, and nothing that was pushed there', async () => {
  await using child = await startMirror({ upstream: mirror.url })
  assert.deepEqual((await search('q=ap', child)).names, [
    'docker.io/team/app',
    'docker.io/library/apple',
    'docker.io/team/application',
  ])
})

test('other upstreams are not searched', async () => {
  await using other = await startMirror({ config: { upstreams: [{ name: 'ghcr.io', url: hub.url }] } })
  hub.reset()
  assert.deepEqual((await search('q=ap', other)).names, [])
  assert.deepEqual(heard(), [])
})
