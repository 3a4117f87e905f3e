import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Tag } from '../../../src/oci/reference.ts'
import type { RepositoryName } from '../../../src/oci/repository-name.ts'
import { KnownChallenge } from '../../../src/upstream/tokens/known-challenge.ts'
import { clientOf, listen } from '../fixtures.ts'
import { scriptedRegistry } from '../scripted-registry.ts'

// A registry that wants a token for `/v2/` is taken to want one for all. Neighbours: it wants none for what is public; its
// token service refuses, or is ill; another challenge for a repository; a realm that is not its own; Basic.

const app = 'library/app' as RepositoryName
const latest = 'latest' as Tag

for (const status of [401, 403, 404, 500]) {
  test(`a registry whose token service answers ${status}, and that wants no token for what is public, is pulled from`, async (t) => {
    const { registry, tokens } = await scriptedRegistry(t, {
      tokenHandler: (_request, response) => void response.writeHead(status).end(),
    })
    const open = await listen(t, (request, response) => {
      if (request.url !== '/v2/') return void response.setHeader('docker-content-digest', 'none').end('{}')
      const challenge = `Bearer realm="${tokens.url}/token",service="s"`
      response.writeHead(401, { 'www-authenticate': challenge }).end()
    })
    const client = clientOf(t, open.url)
    assert.equal((await client.check()).state, 'registry')
    assert.equal((await client.manifest(app, latest)).bytes.toString(), '{}')
    const asked = tokens.requests.length
    await client.manifest(app, latest)
    assert.equal(tokens.requests.length, asked, 'it is not asked again')
    assert.equal(registry.requests.length, 0)
  })
}

for (const challenge of [
  'Basic realm="r"',
  'Bearer realm="http://elsewhere.test/token",service="s"',
  'Bearer',
]) {
  test(`a challenge such as ${challenge} is not taken for all: what is asked next comes without a token`, async (t) => {
    const registry = await listen(t, (request, response) => {
      if (request.url === '/v2/') response.writeHead(401, { 'www-authenticate': challenge }).end()
      else response.end('{}')
    })
    const client = clientOf(t, registry.url)
    await client.check()
    await client.manifest(app, latest)
    assert.equal(registry.requests.at(-1)?.headers.authorization, undefined)
  })
}

test('what was presumed gives way to what was made, and does not take its place', () => {
  const [presumed, made] = ['presumed', 'made'].map((scheme) => ({ scheme, parameters: new Map() }))
  if (!presumed || !made) assert.fail()
  const known = new KnownChallenge()
  known.presume(presumed)
  known.made(made)
  known.presume(presumed)
  assert.equal(known.current, made)
  assert.equal(known.forget(presumed), false)
  assert.equal(known.forget(made), false)
  known.presume(presumed)
  assert.equal(known.forget(presumed), true)
  assert.equal(known.current, undefined)
})
