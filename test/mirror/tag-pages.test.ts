// Neighbours thought of: marks of any name and spelling, with `n` before or behind; links relative, absolute, of a
// query alone, of another host (test/upstream/registry-client-tags.test.ts has them all); the upstream below a path;
// `?ns=`, a leading upstream's name; no `n`, one that is too large for the upstream, 0; a link that cannot be followed
// in the middle; the line cut in the middle, with pages that are kept and without; too many parameters.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { pull } from '../support/client.ts'
import { buildImage } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { listen } from '../upstream/fixtures.ts'

const all = Array.from({ length: 120 }, (_, index) => `v${String(index).padStart(3, '0')}`)
const image = buildImage()

type Options = {
  /** The link to the page that begins at `from`; relative to the list unless set. */
  readonly link?: (from: number, n: number) => string
  readonly maximum?: number
  /** A path before the upstream's `/v2/`. */
  readonly prefix?: string
}

/** A registry that marks where a page begins in its own way, 50 tags a page unless told otherwise. */
async function start(t: TestContext, { link = mark, maximum = 50, prefix = '' }: Options = {}) {
  const upstream = await listen(t, ({ url = '' }, response) => {
    const { pathname, searchParams: query } = new URL(url, 'http://upstream')
    if (pathname.includes('/manifests/')) {
      return void response
        .writeHead(200, { 'content-type': image.manifest.mediaType })
        .end(image.manifest.bytes)
    }
    if (pathname !== `${prefix}/v2/team/app/tags/list`) return void response.writeHead(404).end()
    const n = Number(query.get('n') ?? 50)
    if (n > Math.max(100, maximum)) return void response.writeHead(400).end('{"errors":[]}')
    const from = Number(Buffer.from(query.get('next_page') ?? 'MA==', 'base64').toString())
    const size = Math.min(n, maximum)
    const next = from + size < all.length ? { link: `<${link(from + size, n)}>; rel="next"` } : {}
    response
      .writeHead(200, next)
      .end(JSON.stringify({ name: 'team/app', tags: all.slice(from, from + size) }))
  })
  const mirror = await startMirror({
    config: { upstreams: [{ name: 'docker.io', url: upstream.url + prefix }], 'cache.revalidate': 0 },
  })
  t.after(() => mirror[Symbol.asyncDispose]())
  return { upstream, mirror }
}

/** `next_page=XYZ&n=50`; base64 has characters that are often spelt in more than one way. */
function mark(from: number, n: number): string {
  const value = encodeURIComponent(Buffer.from(String(from)).toString('base64'))
  return `/v2/team/app/tags/list?next_page=${value}&n=${n}&x`
}

/** Follows the links as a client does. Returns all tags and the URLs that were asked for. */
async function walk(mirror: string, first: string) {
  const tags: string[] = []
  const urls: string[] = []
  for (let url: string | undefined = first; url !== undefined && urls.length < 20; ) {
    urls.push(url)
    const answer = await pull(mirror + url)
    if (answer.status !== 200) return { tags, urls, status: answer.status, text: answer.text }
    tags.push(...JSON.parse(answer.text).tags)
    url = /^<([^>]+)>; rel="next"$/.exec(String(answer.headers.link ?? ''))?.[1]
  }
  return { tags, urls, status: 200, text: '' }
}

const list = '/v2/team/app/tags/list'
for (const [what, first, options] of [
  ['pages of 50', `${list}?n=50`, {}],
  ['no n', list, {}],
  ['?ns=', `${list}?n=50&ns=docker.io`, {}],
  ['the upstream named in the path', '/v2/docker.io/team/app/tags/list?n=50', {}],
  ['an n that the upstream refuses', `${list}?n=1000`, {}],
  ['an n that the upstream cuts down', `${list}?n=100`, {}],
  ['an n beyond all measure', `${list}?n=100000`, {}],
  ['links of a query alone', list, { link: (from: number, n: number) => `?${mark(from, n).split('?')[1]}` }],
  [
    'an upstream below a path',
    list,
    { prefix: '/proxy', link: (from: number, n: number) => `/proxy${mark(from, n)}` },
  ],
  ['an upstream that forgets the path that it lies below', list, { prefix: '/proxy' }],
] as const) {
  test(`120 tags in pages that only the upstream can tell apart, ${what}: all of them arrive`, async (t) => {
    const { mirror } = await start(t, options)
    const { tags, urls, status } = await walk(mirror.url, first)
    assert.deepEqual([status, tags], [200, all])
    for (const url of urls.slice(1)) {
      assert.ok(url.startsWith(`${first.split('?')[0]}?next_page=`), url)
      assert.equal(url.includes('ns=docker.io'), first.includes('ns='))
    }
  })
}

for (const [what, target, sentence] of [
  ['another host', `http://elsewhere.test${list}?next_page=x`, /another host/],
  ['another path', '/v2/_catalog?next_page=x', /another path/],
  ['nowhere', 'http://[', /not a URL/],
] as const) {
  test(`a link to ${what} is an error with a sentence, not the end of the list`, async (t) => {
    const { mirror } = await start(t, { link: () => target })
    const { status, text } = await walk(mirror.url, list)
    assert.equal(status, 502)
    assert.match(JSON.parse(text).errors[0].message, /incomplete/)
    assert.match(JSON.parse(text).errors[0].message, sentence)
  })
}

test('a link to the page itself is an error, not a list without end', async (t) => {
  const { mirror } = await start(t, { link: () => `${list}?n=50` })
  const { status, urls } = await walk(mirror.url, `${list}?n=50`)
  assert.deepEqual([status, urls.length], [502, 1])
})

test('the line is cut: pages that were asked for are still there, one that was not is an outage and no first page', async (t) => {
  const { upstream, mirror } = await start(t)
  await walk(mirror.url, `${list}?n=50`)
  await pull(`${mirror.url}/v2/team/app/manifests/v001`)
  upstream.server.closeAllConnections()
  await new Promise((resolve) => upstream.server.close(resolve))
  assert.deepEqual((await walk(mirror.url, `${list}?n=50`)).tags, all)
  assert.equal((await walk(mirror.url, `${list}?next_page=unknown`)).status, 503)
  const cached = await walk(mirror.url, `${list}?n=7`)
  assert.deepEqual([cached.status, cached.tags], [200, ['v001']])
})

test('the line is cut: the tags that are here come in pages too', async (t) => {
  const { upstream, mirror } = await start(t)
  for (const tag of all.slice(0, 5)) await pull(`${mirror.url}/v2/team/app/manifests/${tag}`)
  upstream.server.closeAllConnections()
  await new Promise((resolve) => upstream.server.close(resolve))
  const { tags, urls } = await walk(mirror.url, `${list}?n=2&ns=docker.io`)
  assert.deepEqual([tags, urls.length], [all.slice(0, 5), 3])
})

for (const query of [`?${'a=1&'.repeat(40)}`, `?last=${'x'.repeat(5000)}`]) {
  test(`a query of ${query.length} characters is not passed on`, async (t) => {
    const { upstream, mirror } = await start(t)
    assert.equal((await pull(`${mirror.url}${list}${query}`)).status, 414)
    assert.equal(upstream.requests.length, 0)
  })
}
