// Neighbours thought of: a page, a redirect to one, half an answer, for both questions and for the API alone; the
// upstream gone afterwards, the upstream back; a proper 404 to both; nothing known before; the same after a restart.
import assert from 'node:assert/strict'
import type { RequestListener, ServerResponse } from 'node:http'
import { type TestContext, test } from 'node:test'
import { pull } from '../support/client.ts'
import { buildImage, descriptorOf } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { listen } from '../upstream/fixtures.ts'

const subject = buildImage({ seed: 'subject' })
const signature = buildImage({ seed: 'signature', subject: subject.manifest })
const list = JSON.stringify({ schemaVersion: 2, manifests: [descriptorOf(signature.manifest)] })

type Broken = (response: ServerResponse, url: string) => void

const page: Broken = (response) => response.setHeader('content-type', 'text/html').end('<html>log in</html>')
const ways: readonly [what: string, both: boolean, answer: Broken][] = [
  ['a login page', true, page],
  [
    'a redirect to a login page',
    true,
    (response, url) => {
      if (url.startsWith('/login')) page(response, url)
      else response.writeHead(302, { location: '/login' }).end()
    },
  ],
  [
    'half an answer',
    true,
    (response) =>
      response
        .setHeader('content-type', 'application/vnd.oci.image.index.v1+json')
        .end('{"schemaVersion":2,"manifests":['),
  ],
  ['nothing at all', true, (response) => response.end()],
  ['a page from the API, and 404 for the tag', false, page],
]

async function start(t: TestContext, both: boolean, broken: Broken, isKnown = true) {
  const s = { isBroken: false }
  const handler: RequestListener = ({ url = '' }, response) => {
    const isApi = url.includes('/referrers/')
    if (s.isBroken && (isApi || both)) return broken(response, url)
    if (isApi) return void response.end(list)
    if (!url.endsWith(subject.manifest.digest)) return void response.writeHead(404).end()
    response.writeHead(200, { 'content-type': subject.manifest.mediaType }).end(subject.manifest.bytes)
  }
  const upstream = await listen(t, handler)
  const config = { 'cache.revalidate': 0, 'cache.negative': 0 }
  const options = { upstream: upstream.url, config }
  const mirror = await startMirror(options)
  t.after(() => mirror[Symbol.asyncDispose]())
  const askOf = async (url: string) => {
    const answer = await pull(`${url}/v2/team/app/referrers/${subject.manifest.digest}`)
    assert.equal(answer.status, 200)
    const { length } = JSON.parse(answer.text).manifests
    return {
      count: length as number,
      warning: answer.headers.warning,
      cache: answer.headers['x-larder-cache'],
    }
  }
  await pull(`${mirror.url}/v2/team/app/manifests/${subject.manifest.digest}`)
  if (isKnown) assert.deepEqual(await askOf(mirror.url), { count: 1, warning: undefined, cache: 'miss' })
  return { s, mirror, options, ask: () => askOf(mirror.url), askOf }
}

for (const [what, both, broken] of ways) {
  test(`${what} in the registry's place: the referrers that are known stay, and the answer says so`, async (t) => {
    const { s, mirror, options, ask, askOf } = await start(t, both, broken)
    s.isBroken = true
    for (const _ of [1, 2]) {
      const { count, warning, cache } = await ask()
      assert.deepEqual([count, cache], [1, 'stale'])
      assert.match(String(warning), /there may be more/)
    }
    s.isBroken = false
    assert.deepEqual(await ask(), { count: 1, warning: undefined, cache: 'revalidated' })
    s.isBroken = true
    await mirror.app[Symbol.asyncDispose]()
    await using later = await startMirror({ ...options, directory: mirror.directory })
    for (const _ of [1, 2]) assert.equal((await askOf(later.url)).count, 1)
  })
}

for (const [what, , broken] of ways.filter(([, both]) => both)) {
  test(`${what} in the registry's place and nothing known: empty, but not as a fact`, async (t) => {
    const { s, ask } = await start(t, true, broken, false)
    s.isBroken = true
    const { count, warning } = await ask()
    assert.equal(count, 0)
    assert.match(String(warning), /there may be more/)
    s.isBroken = false
    assert.equal((await ask()).count, 1)
  })
}

test('404 to both questions is believed', async (t) => {
  const { s, ask } = await start(t, true, (response) => response.writeHead(404).end())
  s.isBroken = true
  const { count, warning } = await ask()
  assert.deepEqual([count, warning], [0, undefined])
})
