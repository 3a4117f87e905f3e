/**
 * Every row of docs/routing.md, over real sockets. Neighbours that were thought of: each way of naming a registry
 * alone, two and three of them at once, agreeing and not; aliases, case and ports in each; `library/` after the
 * dropping; `/v2/` twice; the ping below a path; blobs, tags and HEAD, not manifests alone; links to the next page
 * that a client can follow by the way it came; writes; paths that are nobody's. Names without HTTP are in
 * test/upstream/router.test.ts.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { METHODS } from 'node:http'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { RouteTable } from '../../src/http/routing.ts'
import { dockerHubAliases } from '../../src/names/docker-hub.ts'
import { routingRules } from '../../src/registry/router.ts'
import { pull } from '../support/client.ts'
import { type DockerHub, startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'

const page = readFileSync(join(import.meta.dirname, '../../docs/routing.md'), 'utf8')
const image = buildImage()
const names = ['docker.io', 'ghcr.io', 'registry.lan:5001']
const parts = new AsyncDisposableStack()
const hubs = new Map<string, DockerHub>()
let mirror: TestMirror

before(async () => {
  for (const name of names) {
    const hub = parts.use(await startDockerHub())
    hubs.set(name, hub)
    for (const repository of name === 'docker.io' ? ['library/app', 'owner/app'] : ['owner/app']) {
      for (const tag of ['1', '2', '3']) hub.addImage(repository, tag, image)
    }
  }
  const upstreams = names.map((name) => ({ name, url: hubs.get(name)?.url }))
  mirror = parts.use(
    await startMirror({ config: { upstreams, 'cache.revalidate': '0s', 'cache.negative': '0s' } }),
  )
})
after(() => parts.disposeAsync())

/** Which upstreams were asked for what repository by this request. */
async function ask(path: string, host?: string, method = 'GET') {
  for (const hub of hubs.values()) hub.reset()
  const headers = host ? { host } : {}
  const answer = await pull(`${mirror.url}${path}`, { method, headers })
  const asked = [...hubs].flatMap(([name, hub]) =>
    hub.requests
      .filter(({ listener }) => listener === 'registry')
      .map(({ url }) => `${name} ${/^\/v2\/(.+)\/(?:manifests|blobs|tags)\//.exec(url)?.[1] ?? url}`),
  )
  return { ...answer, asked: [...new Set(asked)] }
}

test('the rules in docs/routing.md are those that run, in their order', () => {
  const rows = routingRules.map(({ says, example }, index) => `| ${index + 1} | ${says} | \`${example}\` |`)
  assert.ok(page.includes(rows.join('\n')), rows.join('\n'))
  for (const alias of dockerHubAliases) assert.ok(page.includes(`\`${alias}\``), alias)
})

const tried = [...page.matchAll(/^\| `(\/[^`]*)` \| (?:`([^`]+)`)? ?\| (?:`404`|`([^`]+)` `([^`]+)`) \|$/gm)]

test('docs/routing.md has rows that were tried', () => assert.ok(tried.length >= 25, String(tried.length)))

for (const [, path = '', host, upstream, repository] of tried) {
  test(`${path}${host ? ` at ${host}` : ''}: ${upstream ? `${upstream} ${repository}` : 404}`, async () => {
    const { status, asked, text } = await ask(path, host)
    if (upstream) {
      assert.equal(status, 200, text)
      assert.deepEqual(asked, [`${upstream} ${repository}`])
      return
    }
    assert.deepEqual([status, asked], [404, []])
    assert.ok(JSON.parse(text).errors[0].message.length > 20, text)
  })
}

test('blobs and HEAD come by the same ways', async () => {
  const [layer] = image.layers
  for (const way of ['/ghcr.io/v2/owner/app', '/v2/ghcr.io/owner/app', '/v2/ghcr.io/ghcr.io/owner/app']) {
    for (const [method, what] of [
      ['HEAD', 'manifests/1'],
      ['GET', `blobs/${layer?.digest}`],
      ['HEAD', `blobs/${layer?.digest}`],
    ] as const) {
      const expected = way.includes('ghcr.io/ghcr.io') ? 404 : 200
      assert.equal(
        (await ask(`${way}/${what}`, undefined, method)).status,
        expected,
        `${method} ${way}/${what}`,
      )
    }
  }
})

test('Docker asks /v2/ below the path of the mirror address, and is answered at once', async () => {
  for (const path of ['/docker.io/v2/', '/docker.io/v2', '/v2/docker.io/v2/', '/v2/v2/', '/GHCR.io/v2/']) {
    const { status, text, asked } = await ask(path)
    assert.deepEqual([status, text, asked], [200, '{}', []], path)
  }
  for (const path of ['/mirror/v2/', '/evil.test/v2/', '/v2/evil.test/v2/']) {
    assert.equal((await ask(path)).status, 404, path)
  }
})

test('the next page of a list of tags is reached by the way the client came', async () => {
  const ways = [
    ['/v2/owner/app/tags/list', 'n=1&ns=ghcr.io'],
    ['/ghcr.io/v2/owner/app/tags/list', 'n=1'],
    ['/v2/ghcr.io/owner/app/tags/list', 'n=1'],
    ['/v2/registry.lan%3A5001/owner/app/tags/list', 'n=1'],
    ['/ghcr.io/v2/ghcr.io/owner/app/tags/list', 'n=1&ns=GHCR.io'],
    ['/v2/registry.lan:5001/owner/app/tags/list', 'ns=registry.lan%3A5001&n=1'],
  ] as const
  for (const [path, query] of ways) {
    const tags: string[] = []
    let next: string | undefined = `${path}?${query}`
    while (next !== undefined) {
      const { status, text, headers } = await ask(next)
      assert.equal(status, 200, text)
      tags.push(...JSON.parse(text).tags)
      next = /^<([^>]+)>; rel="next"$/.exec(String(headers.link ?? ''))?.[1]
      assert.ok(next === undefined || next.startsWith(`${path}?`), next)
    }
    assert.deepEqual(tags, ['1', '2', '3'], path)
  }
})

test('a client that names its registry is told which one answered', async () => {
  const { headers } = await ask('/v2/owner/app/manifests/1?ns=ghcr.io')
  assert.equal(headers['oci-namespace'], 'ghcr.io')
})

test('writes are refused below a path as well', async () => {
  for (const path of ['/v2/owner/app/blobs/uploads/', '/ghcr.io/v2/owner/app/blobs/uploads/']) {
    assert.equal((await ask(path, undefined, 'POST')).status, 403)
  }
  assert.equal((await ask('/nothing', undefined, 'POST')).status, 404)
})

const allowed: Readonly<Record<string, string>> = {
  '/v2/': 'GET, HEAD',
  '/v2/library/app/manifests/1': 'GET, HEAD, PUT, DELETE',
  [`/v2/library/app/blobs/${image.config.digest}`]: 'GET, HEAD, DELETE',
  '/v2/library/app/blobs/uploads/': 'POST',
  '/docker.io/v2/app/blobs/uploads': 'POST',
  '/v2/library/app/blobs/uploads/some-id': 'GET, PATCH, PUT, DELETE',
  '/docker.io/v2/app/tags/list': 'GET, HEAD',
  [`/v2/library/app/referrers/${image.manifest.digest}`]: 'GET, HEAD',
}
for (const [path, allow] of Object.entries(allowed)) {
  test(`every method that ${path.slice(0, 50)} does not take: 405 with ${allow}, and nobody is asked`, async () => {
    // CONNECT has no answer but the end of the connection.
    const others = METHODS.filter((method) => method !== 'CONNECT' && !allow.split(', ').includes(method))
    assert.ok(others.length > 25)
    for (const method of others) {
      const { status, headers, text, asked } = await ask(path, undefined, method)
      assert.deepEqual([status, headers.allow, asked], [405, allow, []], method)
      // The answer to a HEAD has no body.
      if (method === 'HEAD') continue
      const [error] = JSON.parse(text).errors
      assert.equal(error.code, 'UNSUPPORTED')
      assert.match(error.message, new RegExp(method))
    }
  })
}

test('methods that no registry has: 405 with those that it has, and no word of a wrong address', async () => {
  await using own = await startMirror({ upstream: 'http://127.0.0.1:9' })
  for (const method of ['OPTIONS', 'TRACE', 'PROPFIND', 'PURGE']) {
    for (const path of ['/v2/', '/v2/app/nothing/1', '/v2/BAD/tags/.x']) {
      const { status, headers, text } = await pull(own.url + path, { method })
      assert.deepEqual([status, headers.allow], [405, 'GET, HEAD'], `${method} ${path}`)
      assert.match(JSON.parse(text).errors[0].message, new RegExp(method))
    }
    assert.equal((await pull(`${own.url}/nothing`, { method })).status, 404)
  }
  assert.ok(!own.log().includes('not served'))
})

const aRoute = { kind: 'tags', method: 'GET', action: 'pull', answer: async () => {} } as const

test('a route that does not say what it lets somebody do: nothing starts', () => {
  const { action: _, ...without } = aRoute
  for (const route of [without, { ...aRoute, action: undefined }, { ...aRoute, action: 'read' }]) {
    assert.throws(() => new RouteTable([route as unknown as typeof aRoute]), /GET tags has no action/)
  }
  assert.throws(() => new RouteTable([aRoute, aRoute]), /two routes for GET tags/)
  assert.equal(new RouteTable([aRoute]).find('tags', 'GET'), aRoute)
})

test('a client with a wrong path in its mirror address: the log says what to write, not at every request', async () => {
  await using own = await startMirror({ upstream: 'http://127.0.0.1:9' })
  for (let round = 0; round < 20; round += 1) {
    const { status, text, headers } = await pull(`${own.url}/some/mirror${round}/v2/library/app/manifests/1`)
    assert.equal(status, 404)
    assert.match(String(headers['content-type']), /^application\/json/)
    assert.match(
      JSON.parse(text).errors[0].message,
      /below \/some\/mirror\d+: write .* \/docker\.io; where a web server .*server\.publicUrl/,
    )
  }
  const lines = own.log().split('\n')
  const told = lines.filter((line) => line.includes('below a path that is not served'))
  assert.equal(told.length, 1, told.join('\n'))
  assert.match(told[0] ?? '', /"path":"\/some\/mirror0".*write the mirror's address without a path/)
})

test("a path that is nobody's: 404, and no line in the log", async () => {
  await using own = await startMirror({ upstream: 'http://127.0.0.1:9' })
  for (const path of [
    '/nothing',
    '/v1/',
    '/v1/_ping/x',
    '/v1/searching',
    '/v22/',
    '/v2x',
    '/V2/',
    '/nothing?x=/v2/',
  ]) {
    assert.equal((await pull(`${own.url}${path}`)).status, 404, path)
  }
  assert.ok(!own.log().includes('not served'))
})
