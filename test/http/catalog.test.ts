/**
 * `/v2/_catalog` over real sockets. Thought of: pages of every size, behind a name and behind what is none; what is
 * pushed while somebody goes from page to page; names that can be asked for as they are listed, by each way to name an
 * upstream; what was pushed and deleted, or only begun; what the asker may not see; methods that it has not.
 */
import assert from 'node:assert/strict'
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { pull } from '../support/client.ts'
import { type DockerHub, startDockerHub } from '../support/docker-hub.ts'
import { blobOf, buildImage, pseudoRandomBytes } from '../support/images.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { pushBlob, pushImage, send } from '../support/push.ts'

const parts = new AsyncDisposableStack()
const image = buildImage({ layers: [100], seed: 'catalog' })
let hub: DockerHub
let mirror: TestMirror

before(async () => {
  hub = parts.use(await startDockerHub())
  for (const name of ['library/alpine', 'team/app']) hub.addImage(name, 'latest', image)
  mirror = parts.use(
    await startMirror({
      config: {
        upstreams: ['docker.io', 'ghcr.io'].map((name) => ({ name, url: hub.url })),
        'cache.negative': '0s',
      },
    }),
  )
  for (const name of ['zoo', 'busybox', 'local/deep/er'])
    await pushImage(`${mirror.url}/v2/${name}`, 'v1', image)
  for (const name of ['alpine', 'team/app', 'ghcr.io/team/app']) {
    assert.equal((await pull(`${mirror.url}/v2/${name}/manifests/latest`)).status, 200)
  }
})
after(() => parts.disposeAsync())

const all = [
  'busybox',
  'docker.io/library/alpine',
  'docker.io/team/app',
  'ghcr.io/team/app',
  'local/deep/er',
  'zoo',
]

async function list(path = '/v2/_catalog') {
  const { status, text, headers } = await send('GET', mirror.url + path)
  assert.equal(status, 200, text)
  const next = /^<([^>]+)>; rel="next"$/.exec(String(headers.link ?? ''))?.[1]
  return { names: JSON.parse(text).repositories as string[], next, headers, text }
}

/** From page to page; `between` is done before each but the first. */
async function walk(path: string, between = async () => {}): Promise<string[][]> {
  const pages: string[][] = []
  for (let next: string | undefined = path; next !== undefined; ) {
    if (pages.length > 0) await between()
    const page = await list(next)
    pages.push(page.names)
    next = page.next
  }
  return pages
}

test('what was pushed and what is cached, in one order', async () => {
  const { text, headers } = await list()
  assert.equal(text, JSON.stringify({ repositories: all }))
  assert.equal(headers['content-type'], 'application/json; charset=utf-8')
  assert.equal(headers.link, undefined)
  const head = await send('HEAD', `${mirror.url}/v2/_catalog`)
  assert.deepEqual([head.status, head.headers['content-length']], [200, String(text.length)])
})

test('pages of every size hold all names once', async () => {
  for (let n = 1; n <= all.length + 1; n += 1) {
    const pages = await walk(`/v2/_catalog?n=${n}`)
    assert.deepEqual(pages.flat(), all, `n=${n}`)
    assert.equal(pages.length, Math.max(1, Math.ceil(all.length / n)))
  }
})

test('a page begins behind any text, and none of its parameters can be anything', async () => {
  for (const [query, expected] of [
    ['last=busybox', all.slice(1)],
    ['last=docker.io', all.slice(1)],
    ['last=docker.io%2Fm', all.slice(2)],
    ['last=zoo', []],
    ['last=%00&n=1', all.slice(0, 1)],
    ['last=~', []],
    ['last=', all],
    ['n=0', []],
    ['n=999999999', all],
  ] as const) {
    const { names, next } = await list(`/v2/_catalog?${query}`)
    assert.deepEqual(names, expected, query)
    assert.equal(next === undefined, query !== 'last=%00&n=1', query)
  }
  for (const query of ['n=-1', 'n=x', 'n=', 'n=9999999999']) {
    const { status, code } = await send('GET', `${mirror.url}/v2/_catalog?${query}`)
    assert.deepEqual([status, code], [400, 'PAGINATION_NUMBER_INVALID'], query)
  }
  assert.equal((await send('GET', `${mirror.url}/v2/_catalog?x=${'y'.repeat(5000)}`)).status, 414)
})

test('each listed name can be asked for, by the way it was listed', async () => {
  hub.reset()
  for (const [way, query, expected] of [
    ['', '', all],
    ['', '?ns=ghcr.io', ['team/app']],
    ['', '?ns=index.docker.io', ['library/alpine', 'team/app']],
    ['/ghcr.io', '', ['team/app']],
    ['/ghcr.io', '?ns=GHCR.io', ['team/app']],
  ] as const) {
    const { names } = await list(`${way}/v2/_catalog${query}`)
    assert.deepEqual(names, expected, way + query)
    for (const name of names) {
      const tags = await send('GET', `${mirror.url}${way}/v2/${name}/tags/list${query}`)
      assert.equal(tags.status, 200, `${way} ${name} ${query}`)
    }
  }
  const pages = await walk('/docker.io/v2/_catalog?n=1')
  assert.deepEqual(pages, [['library/alpine'], ['team/app']])
  assert.deepEqual(await walk('/v2/_catalog?n=1&ns=docker.io'), pages)
  for (const path of [
    '/nowhere.test/v2/_catalog',
    '/v2/_catalog?ns=nowhere.test',
    '/ghcr.io/v2/_catalog?ns=docker.io',
  ])
    assert.equal((await send('GET', mirror.url + path)).status, 404, path)
})

test('no upstream is asked what it has', async () => {
  hub.reset()
  await list()
  assert.equal(hub.count(), 0)
})

test('what is pushed between two pages moves nothing from one to another', async () => {
  let n = 0
  const pages = await walk('/v2/_catalog?n=2', async () => {
    await pushImage(`${mirror.url}/v2/aaa-${n}`, 'v1', image)
    n += 1
  })
  assert.deepEqual(pages.flat(), all)
})

test('a push that came to nothing is not listed', async () => {
  await pushBlob(`${mirror.url}/v2/begun`, blobOf(pseudoRandomBytes(10, 'begun')))
  assert.equal((await list()).names.includes('begun'), false)
})

test('it can be read, and nothing else', async () => {
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
    const { status, code, headers } = await send(method, `${mirror.url}/v2/_catalog`)
    assert.deepEqual([status, code, headers.allow], [405, 'UNSUPPORTED', 'GET, HEAD'], method)
  }
  assert.equal((await send('GET', `${mirror.url}/v2/_catalog/x`)).status, 404)
})

test('the next page is linked by the address that clients know', async () => {
  await using other = await startMirror({
    upstream: hub.url,
    config: { 'server.publicUrl': 'https://mirror.test/registry' },
  })
  for (const name of ['alpine', 'team/app']) await pull(`${other.url}/v2/${name}/manifests/latest`)
  const { headers } = await send('GET', `${other.url}/v2/_catalog?n=1`)
  assert.equal(
    headers.link,
    '<https://mirror.test/registry/v2/_catalog?n=1&last=docker.io%2Flibrary%2Falpine>; rel="next"',
  )
})

test('what was pushed before local.repositories was narrowed is listed, and is there', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'larder-narrowed-'))
  const directory = folder.path
  {
    await using wide = await startMirror({ upstream: hub.url, directory })
    await pushImage(`${wide.url}/v2/early`, 'v1', image)
  }
  await using narrow = await startMirror({
    upstream: hub.url,
    directory,
    config: { 'local.repositories': ['local/**'] },
  })
  const { text } = await send('GET', `${narrow.url}/v2/_catalog`)
  assert.deepEqual(JSON.parse(text), { repositories: ['early'] })
  assert.equal((await send('GET', `${narrow.url}/v2/early/tags/list`)).status, 200)
})
