// Upstreams that have no referrers API, or one that nobody should believe; see the list in referrers.test.ts.
import assert from 'node:assert/strict'
import type { RequestListener, ServerResponse } from 'node:http'
import { type TestContext, test } from 'node:test'
import { pull } from '../support/client.ts'
import { buildImage, buildIndex, descriptorOf } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { listen } from '../upstream/fixtures.ts'

const subject = buildImage({ seed: 'subject' })
const one = buildImage({ seed: 'one', subject: subject.manifest })
const two = buildImage({ seed: 'two', subject: subject.manifest })
const tagged = buildIndex([two]).manifest
const path = `/v2/team/app/referrers/${subject.manifest.digest}`
const schemaTag = subject.manifest.digest.replace(':', '-')
const indexType = 'application/vnd.oci.image.index.v1+json'
const indexOf = (...images: (typeof one)[]) =>
  JSON.stringify({
    schemaVersion: 2,
    mediaType: indexType,
    manifests: images.map(({ manifest }) => descriptorOf(manifest)),
  })

type Answer = (response: ServerResponse, url: string) => void

/** A mirror that holds the subject, and its upstream: `api` answers the API, `tag` the tag of the schema. */
async function start(t: TestContext, api: Answer, tag?: Answer) {
  const handler: RequestListener = ({ url = '' }, response) => {
    if (url.includes('/referrers/')) return api(response, url)
    if (url.endsWith(schemaTag)) {
      if (tag) return tag(response, url)
      return void response
        .writeHead(200, { 'content-type': tagged.mediaType, 'docker-content-digest': tagged.digest })
        .end(tagged.bytes)
    }
    if (url.endsWith(subject.manifest.digest)) {
      return void response
        .writeHead(200, { 'content-type': subject.manifest.mediaType })
        .end(subject.manifest.bytes)
    }
    response.writeHead(404).end()
  }
  const upstream = await listen(t, handler)
  const mirror = await startMirror({ upstream: upstream.url, config: { 'cache.revalidate': 0 } })
  t.after(() => mirror[Symbol.asyncDispose]())
  await pull(`${mirror.url}/v2/team/app/manifests/${subject.manifest.digest}`)
  const asked = (what: RegExp) => upstream.requests.filter(({ url }) => what.test(url)).length
  const found = async () => {
    const answer = await pull(`${mirror.url}${path}`)
    assert.deepEqual([answer.status, answer.headers['content-type']], [200, indexType])
    const digests = JSON.parse(answer.text).manifests.map(({ digest }: { digest: string }) => digest)
    return { digests, warning: answer.headers.warning }
  }
  return { upstream, found, asked }
}

const refused: readonly [what: string, api: Answer][] = [
  ...[400, 404, 405, 406, 410, 501].map((status): [string, Answer] => [
    `answers ${status}`,
    (response) => response.writeHead(status, { 'content-type': 'text/plain' }).end('no such page'),
  ]),
  ['answers with a page', (response) => response.setHeader('content-type', 'text/html').end('<html></html>')],
  ['answers with nothing', (response) => response.end()],
  ['answers with JSON that is no list', (response) => response.end('{"errors":[]}')],
  ['answers with an image', (response) => response.end(Buffer.from(one.manifest.bytes))],
  ['redirects to a login page', (response, url) => redirect(response, url, '/login')],
  ['redirects in a circle', (response) => response.writeHead(302, { location: path }).end()],
  [
    'redirects to an unspeakable place',
    (response) => response.writeHead(302, { location: 'ftp://x/' }).end(),
  ],
  ['redirects without saying where', (response) => response.writeHead(302).end()],
]

function redirect(response: ServerResponse, url: string, to: string): void {
  if (url.startsWith(to)) response.setHeader('content-type', 'text/html').end('<html></html>')
  else response.writeHead(303, { location: `${to}/referrers/` }).end()
}

for (const [what, api] of refused) {
  test(`an API that ${what} is none: the tag of the schema counts, and the next time is asked at once`, async (t) => {
    const s = await start(t, api)
    assert.deepEqual(await s.found(), { digests: [two.manifest.digest], warning: undefined })
    const before = s.asked(/referrers/)
    assert.ok(before > 0)
    assert.deepEqual((await s.found()).digests, [two.manifest.digest])
    assert.deepEqual([s.asked(/referrers/), s.asked(/manifests\/sha256-/)], [before, 2])
  })
}

const tags: readonly [what: string, answer: Answer][] = [
  ['an image', (response) => response.end(Buffer.from(one.manifest.bytes))],
  ['a page', (response) => response.setHeader('content-type', 'text/html').end('<html></html>')],
  ['nothing that it lets us read', (response) => response.writeHead(403).end()],
]

for (const [what, answer] of tags) {
  test(`the tag of the schema holds ${what}: the API alone counts`, async (t) => {
    const s = await start(t, (response) => response.end(indexOf(one)), answer)
    assert.deepEqual(await s.found(), { digests: [one.manifest.digest], warning: undefined })
  })
}

const pages: readonly [what: string, link: (url: string) => string | undefined, isWhole: boolean][] = [
  [
    'an opaque mark',
    (url) => (url.includes('mark') ? undefined : `<${path}?mark=a%2Fb%3D&x>; rel="next"`),
    true,
  ],
  ['a query alone', (url) => (url.includes('mark') ? undefined : '<?mark=1>; rel="next"'), true],
  [
    'its own URL',
    (url) => (url.includes('mark') ? undefined : `<http://HERE${path}?mark=1>; rel="next"`),
    true,
  ],
  ['another host', () => `<http://elsewhere.test${path}?mark=1>; rel="next"`, false],
  [
    'itself',
    (url) => (url.includes('mark') ? `<${path}?mark=1>; rel="next"` : `<${path}?mark=1>; rel="next"`),
    false,
  ],
  ['a circle', (url) => `<${path}?mark=${url.includes('mark=1') ? 2 : 1}>; rel="next"`, false],
  [
    'ever more pages',
    (url) => `<${path}?mark=${Number(/\d+$/.exec(url)?.[0].slice(-6) ?? 0) + 1}>; rel="next"`,
    false,
  ],
  ['what nobody can read', () => 'garbage', false],
]

for (const [what, link, isWhole] of pages) {
  test(`pages that lead to ${what} ${isWhole ? 'are walked' : 'are left, which the answer says'}`, async (t) => {
    const s = await start(
      t,
      (response, url) => {
        const next = link(url)?.replace('HERE', new URL(s.upstream.url).host)
        if (next !== undefined) response.setHeader('link', next)
        response.end(indexOf(url.includes('mark') ? two : one))
      },
      (response) => response.writeHead(404).end(),
    )
    const { digests, warning } = await s.found()
    assert.equal(digests[0], one.manifest.digest)
    if (isWhole)
      assert.deepEqual([digests, warning], [[one, two].map(({ manifest }) => manifest.digest), undefined])
    else assert.match(String(warning), /there may be more/)
    assert.ok(s.asked(/referrers/) <= 100)
    assert.ok(s.upstream.requests.every(({ headers }) => headers.host === new URL(s.upstream.url).host))
  })
}

test('the second page fails: what the first one had is served, and kept is what was known before', async (t) => {
  let isBroken = false
  const s = await start(
    t,
    (response, url) => {
      if (!url.includes('mark')) response.setHeader('link', `<${path}?mark=1>; rel="next"`)
      else if (isBroken) response.statusCode = 403
      response.end(indexOf(url.includes('mark') ? two : one))
    },
    (response) => response.writeHead(404).end(),
  )
  assert.equal((await s.found()).digests.length, 2)
  isBroken = true
  const { digests, warning } = await s.found()
  assert.equal(digests.length, 2)
  assert.match(String(warning), /there may be more/)
})

test('a list of more than 4 MiB in one answer is not read to its end', async (t) => {
  const annotations = { text: 'x'.repeat(5 * 1024 * 1024) }
  const large = JSON.stringify({ manifests: [{ ...descriptorOf(one.manifest), annotations }] })
  const s = await start(t, (response) => response.end(large))
  const { digests, warning } = await s.found()
  assert.deepEqual(digests, [two.manifest.digest])
  assert.match(String(warning), /more than 4194304 bytes/)
  await s.found()
  assert.equal(s.asked(/referrers/), 1, 'remembered for a minute')
})

test('an upstream that answered by its API once is asked by it again after a 404', async (t) => {
  let isMissing = false
  const s = await start(t, (response) => response.writeHead(isMissing ? 404 : 200).end(indexOf(one)))
  assert.equal((await s.found()).digests.length, 2)
  isMissing = true
  assert.deepEqual((await s.found()).digests, [two.manifest.digest])
  isMissing = false
  assert.equal((await s.found()).digests.length, 2)
})
