import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Tag } from '../../src/oci/reference.ts'
import type { RepositoryName } from '../../src/oci/repository-name.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { clientOf, failsWith, listen } from './fixtures.ts'

const repository = 'library/alpine' as RepositoryName
const names = ['1.0', '1.1', '1.2', '2.0', 'latest']

test('tags are read page by page, by n and last', async (t) => {
  await using hub = await startDockerHub()
  for (const name of names) hub.addImage(repository, name, buildImage())
  const client = clientOf(t, hub.url)
  const found: Tag[] = []
  let last: string | undefined
  do {
    const page = await client.tags(repository, { n: 2, ...(last === undefined ? {} : { last }) })
    found.push(...page.tags)
    last = page.next
  } while (last !== undefined)
  assert.deepEqual(found, names)
  assert.equal(hub.count({ path: /tags\/list/, status: 200 }), 3)
})

test('without n all tags come at once, with no next page', async (t) => {
  await using hub = await startDockerHub()
  for (const name of names) hub.addImage(repository, name, buildImage())
  assert.deepEqual(await clientOf(t, hub.url).tags(repository, {}), { tags: names, next: undefined })
})

test('n and last go out encoded', async (t) => {
  const server = await listen(t, (_request, response) => void response.end('{"name":"a","tags":[]}'))
  await clientOf(t, server.url).tags(repository, { n: 5, last: 'a&n=1000000#/..' })
  assert.equal(server.requests[0]?.url, '/v2/library/alpine/tags/list?n=5&last=a%26n%3D1000000%23%2F..')
})

const links: readonly [link: string, next: string | undefined][] = [
  ['</v2/library/alpine/tags/list?n=2&last=1.1>; rel="next"', '1.1'],
  ['<?n=2&last=1.1>; rel="next"', '1.1'],
  ['<http://elsewhere.test/v2/x/tags/list?last=1.1>; rel=next', '1.1'],
  ['<list?last=a%26b>; rel="next"', 'a&b'],
  ['</a?last=0>; rel="prev", </a?last=1.1>; rel="next"', '1.1'],
  ['</v2/library/alpine/tags/list?n=2>; rel="next"', undefined],
  ['</v2/library/alpine/tags/list?last=1.1>; rel="prev"', undefined],
  ['<http://[bad>; rel="next"', undefined],
  ['<javascript:alert(1)?last=1.1>; rel="next"', '1.1'],
  ['garbage', undefined],
  ['<', undefined],
]

for (const [link, next] of links) {
  test(`Link ${link} ${next === undefined ? 'leads nowhere' : `leads to the tags after ${next}`}`, async (t) => {
    const server = await listen(t, (_request, response) =>
      response.writeHead(200, { link }).end('{"name":"a","tags":["1.0"]}'),
    )
    assert.equal((await clientOf(t, server.url).tags(repository, {})).next, next)
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
    const page = clientOf(t, server.url).tags(repository, {})
    if (tags) assert.deepEqual((await page).tags, tags)
    else await failsWith(page, 'INVALID_RESPONSE')
  })
}

test('a list of tags without end is invalid', async (t) => {
  await using hub = await startDockerHub()
  hub.addImage(repository, 'latest', buildImage())
  hub.fault({ path: /tags/ }, { endless: true })
  await failsWith(clientOf(t, hub.url).tags(repository, {}), 'INVALID_RESPONSE', /more than/)
})
