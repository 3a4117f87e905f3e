import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Tag } from '../../src/oci/reference.ts'
import type { RepositoryName } from '../../src/oci/repository-name.ts'
import type { TagPage } from '../../src/upstream/registry-client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { clientOf, failsWith, listen } from './fixtures.ts'

const repository = 'library/alpine' as RepositoryName
const webPage =
  /^docker\.io: it answered with a web page: the network may want a login first, or upstreams\[\]\.url is no registry$/
const names = ['1.0', '1.1', '1.2', '2.0', 'latest']

test('tags are read page by page, by the query of each link', async (t) => {
  await using hub = await startDockerHub()
  for (const name of names) hub.addImage(repository, name, buildImage())
  const client = clientOf(t, hub.url)
  const found: Tag[] = []
  for (let query: string | undefined = 'n=2'; query !== undefined; ) {
    const page: TagPage = await client.tags(repository, query)
    found.push(...page.tags)
    query = page.next
  }
  assert.deepEqual(found, names)
  assert.equal(hub.count({ path: /tags\/list/, status: 200 }), 3)
})

test('without n all tags come at once, with no next page', async (t) => {
  await using hub = await startDockerHub()
  for (const name of names) hub.addImage(repository, name, buildImage())
  assert.deepEqual(await clientOf(t, hub.url).tags(repository, ''), { tags: names, next: undefined })
})

test('a query goes out as it is', async (t) => {
  const server = await listen(t, (_request, response) => void response.end('{"name":"a","tags":[]}'))
  const query = 'n=5&last=a%26n%3D1000000%23%2F..&next_page=ab+c/~*%2B=='
  await clientOf(t, server.url).tags(repository, query)
  assert.equal(server.requests[0]?.url, `/v2/library/alpine/tags/list?${query}`)
})

const path = '/v2/library/alpine/tags/list'
/** `OTHER` and `HERE` stand for a foreign host and for the upstream's own host and port. */
const links: readonly [link: string | readonly string[], next: string | RegExp | undefined][] = [
  [`<${path}?n=2&last=1.1>; rel="next"`, 'n=2&last=1.1'],
  [`<${path}?next_page=XYZ&n=50>; rel="next"`, 'next_page=XYZ&n=50'],
  [`<${path}?token=a%2Fb%3D%3D+~*>; rel="next"`, 'token=a%2Fb%3D%3D+~*'],
  ['<?n=2&last=1.1>; rel="next"', 'n=2&last=1.1'],
  ['<list?last=a%26b>; rel="next"', 'last=a%26b'],
  [`<http://HERE${path}?last=1.1>; rel=next`, 'last=1.1'],
  [`<https://HERE${path}?last=1.1>; rel=next`, 'last=1.1'],
  [`<//HERE${path}?last=1.1>; rel=next`, 'last=1.1'],
  [`</prefix${path}?last=1.1>; rel=next`, 'last=1.1'],
  [`<${path}?last=0>; rel="prev", <${path}?last=1.1>; rel="next"`, 'last=1.1'],
  [[`<${path}?last=0>; rel="prev"`, `<${path}?last=1.1>; rel="next"`], 'last=1.1'],
  [[`<${path}?last=1.1>; rel="next"`, `<${path}?last=1.1>; rel="next"`], 'last=1.1'],
  [`<${path}?last=1.1>; rel="prev"`, undefined],
  [[], undefined],
  [[`<${path}?last=1.1>; rel="next"`, `<${path}?last=1.2>; rel="next"`], /more than once/],
  [`<http://elsewhere.test${path}?last=1.1>; rel=next`, /another host, elsewhere.test/],
  [`<//elsewhere.test${path}?last=1.1>; rel=next`, /another host/],
  [`<http://127.0.0.1:1${path}?last=1.1>; rel=next`, 'last=1.1'],
  [`<http://127.0.0.1${path}?last=1.1>; rel=next`, 'last=1.1'],
  [`<${path}?last=1.1>; rel='next'`, 'last=1.1'],
  [`<${path}?last=1.1>; rel='prev', <${path}?last=1.2>; rel='NEXT'`, 'last=1.2'],
  [`<${path}?last=1.1>`, 'last=1.1'],
  [`<${path}?last=1.1>; title="more"`, 'last=1.1'],
  [`<${path}?last=1.1>, <${path}?last=1.2>`, undefined],
  ['</docs>', undefined],
  ['<javascript:alert(1)?last=1.1>; rel="next"', /another host/],
  ['<http://[bad>; rel="next"', /not a URL/],
  ['</v2/_catalog?last=1.1>; rel="next"', /another path/],
  ['</a?last=1.1>; rel="next"', /another path/],
  [`<${path}>; rel="next"`, /the same page/],
  ['<>; rel="next"', /the same page/],
  [`<${path}?b=2&a=1>; rel="next"`, /the same page/],
  [`<${path}?last=${'x'.repeat(5000)}>; rel="next"`, /characters/],
  ['garbage', /cannot be read/],
  ['<', /cannot be read/],
  [`<${path}?last=1.1; rel="next"`, /cannot be read/],
]

for (const [link, next] of links) {
  const end = next instanceof RegExp ? 'is an error' : `leads to ${next ?? 'nothing more'}`
  test(`Link ${String(link).slice(0, 120)} ${end}`, async (t) => {
    const server = await listen(t, (_request, response) => {
      const headers = [link].flat().map((text) => text.replace('HERE', new URL(server.url).host))
      response.writeHead(200, headers.length > 0 ? { link: headers } : {}).end('{"name":"a","tags":["1.0"]}')
    })
    const page = clientOf(t, server.url).tags(repository, 'a=1&b=2')
    if (next instanceof RegExp) await failsWith(page, 'INVALID_RESPONSE', next)
    else assert.equal((await page).next, next)
    assert.equal(server.requests.length, 1, 'a link is never followed')
  })
}

const bodies: readonly [body: string, tags: readonly string[] | undefined][] = [
  ['{"name":"a","tags":null}', []],
  ['{"name":"a","tags":["ok",5,"not a tag","../x",null,"-x"]}', ['ok']],
  ['{"name":"a"}', undefined],
  ['{"tags":["a"]}', undefined],
  ['<html>', undefined],
  ['', undefined],
]

for (const [body, tags] of bodies) {
  test(`a list of tags ${body} ${tags ? `has ${tags.length} tags` : 'is invalid'}`, async (t) => {
    const server = await listen(t, (_request, response) => void response.end(body))
    const page = clientOf(t, server.url).tags(repository, '')
    if (tags) assert.deepEqual((await page).tags, tags)
    else await failsWith(page, 'INVALID_RESPONSE')
  })
}

test('a list of tags without end is invalid', async (t) => {
  await using hub = await startDockerHub()
  hub.addImage(repository, 'latest', buildImage())
  hub.fault({ path: /tags/ }, { endless: true })
  await failsWith(clientOf(t, hub.url).tags(repository, ''), 'INVALID_RESPONSE', /more than/)
})

test('a web page in place of a list of tags is called one', async (t) => {
  const answers: [type: string, body: string, message: RegExp][] = [
    ['text/html; charset=utf-8', '<html>Welcome', webPage],
    ['application/xhtml+xml', '', webPage],
    ['application/json', '<html>Welcome', /not JSON/],
  ]
  for (const [type, body, message] of answers) {
    const server = await listen(t, (_, response) =>
      response.writeHead(200, { 'content-type': type }).end(body),
    )
    await failsWith(clientOf(t, server.url).tags(repository, ''), 'INVALID_RESPONSE', message)
  }
})

test('a list of tags is one, also where it is called a page', async (t) => {
  const server = await listen(t, (_, response) => {
    response.writeHead(200, { 'content-type': 'text/html' }).end('{"name":"a","tags":["1.0"]}')
  })
  assert.deepEqual((await clientOf(t, server.url).tags(repository, '')).tags, ['1.0'])
})
