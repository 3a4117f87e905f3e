/**
 * Registries that keep a repository under another name than the one in the URL say so in the scope of their challenge.
 *
 * Neighbours that were thought of: several scopes in one challenge and in several; a scope that is ours in other
 * words; pull with more actions, other types, wildcards, names that are none, a hundred scopes, a host in front;
 * the placeholder of ghcr.io, with a token service that refuses the whole request for it; a challenge that changes
 * with each answer (a loop); the token of one repository used for another; a token that expires or is revoked
 * afterwards; another realm beside; a token service that is down for the second request only.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Tag } from '../../src/oci/reference.ts'
import type { RepositoryName } from '../../src/oci/repository-name.ts'
import { clientOf, failsWith, listen } from './fixtures.ts'

const app = 'app' as RepositoryName
const other = 'other' as RepositoryName
const latest = 'latest' as Tag
const own = 'repository:app:pull'
const vendor = 'repository:vendor/app:pull'

type Wants = {
  /** What a token has to have. */
  readonly needed: readonly string[]
  /** The WWW-Authenticate of a 401; `count` says how many there were. */
  readonly challenge: (realm: string, count: number) => string | string[]
  /** The status with which a token request is answered; 200 unless set. */
  readonly tokenStatus?: (scopes: readonly string[]) => number
}

/** A registry whose tokens are the scopes that were asked for. */
async function registryOf(t: TestContext, wants: Wants) {
  const asked: string[][] = []
  const tokens = await listen(t, (request, response) => {
    const scopes = new URL(request.url ?? '', 'http://x').searchParams.getAll('scope')
    asked.push(scopes)
    const status = wants.tokenStatus?.(scopes) ?? 200
    const token = Buffer.from(JSON.stringify(scopes)).toString('base64url')
    response.writeHead(status).end(JSON.stringify({ token, expires_in: 300 }))
  })
  const state = { ...wants, challenges: 0 }
  const registry = await listen(t, (request, response) => {
    const token = request.headers.authorization?.slice('Bearer '.length) ?? ''
    const scopes = token === '' ? [] : (JSON.parse(Buffer.from(token, 'base64url').toString()) as string[])
    if (state.needed.every((scope) => scopes.includes(scope)))
      return void response.end('{"name":"app","tags":[]}')
    state.challenges += 1
    const challenge = state.challenge(`${tokens.url}/token`, state.challenges)
    response.writeHead(401, { 'www-authenticate': challenge }).end()
  })
  return { registry, tokens, asked, state, client: clientOf(t, registry.url) }
}

const bearer = (scope: string) => (realm: string) => `Bearer realm="${realm}",service="s",scope="${scope}"`

test('a repository that is kept under another name is pulled, and from then on without another round trip', async (t) => {
  const { registry, asked, client } = await registryOf(t, { needed: [vendor], challenge: bearer(vendor) })
  await client.manifestDigest(app, latest)
  assert.deepEqual(asked, [[own], [own, vendor]])
  assert.equal(registry.requests.length, 3)
  await client.manifestDigest(app, latest)
  await client.tags(app, '')
  assert.equal(registry.requests.length, 5)
  assert.equal(asked.length, 2)
})

const taken: readonly [what: string, needed: readonly string[], challenge: Wants['challenge']][] = [
  [
    'several scopes in one challenge',
    [vendor, 'repository:base/os:pull'],
    bearer(`${vendor} repository:base/os:pull`),
  ],
  ['our own beside another', [own, vendor], bearer(`${own} ${vendor}`)],
  [
    'scopes in several challenges',
    [vendor, 'repository:base/os:pull'],
    (realm) => [bearer(vendor)(realm), bearer('repository:base/os:pull')(realm)],
  ],
  ['a class', ['repository(plugin):vendor/app:pull'], bearer('repository(plugin):vendor/app:pull')],
  [
    'a host in front of the name',
    ['repository:reg.example:5000/app:pull'],
    bearer('repository:reg.example:5000/app:pull'),
  ],
  ['a push beside it, which is left out', [vendor], bearer(`repository:app:pull,push ${vendor}`)],
  ['no quotes', [vendor], (realm) => `Bearer realm=${realm},service=s,scope=${vendor}`],
  ['Basic beside it', [vendor], (realm) => ['Basic realm="x"', bearer(vendor)(realm)]],
]

for (const [what, needed, challenge] of taken) {
  test(`taken: ${what}`, async (t) => {
    const { asked, client } = await registryOf(t, { needed, challenge })
    await client.manifestDigest(app, latest)
    assert.equal(asked.length, 2)
    assert.ok(asked.flat().every((scope) => scope.endsWith(':pull')))
  })
}

const left: readonly string[] = [
  'repository:vendor/app:pull,push',
  'repository:vendor/app:push',
  'repository:vendor/app:*',
  'repository:*:pull',
  'repository:Vendor/App:pull',
  'repository:../app:pull',
  'registry:catalog:*',
  'repository:vendor/app',
  'pull',
  `repository:${'a'.repeat(300)}:pull`,
  own,
  '',
]

for (const scope of left) {
  test(`not asked for: ${scope.slice(0, 60)}`, async (t) => {
    const { registry, asked, client } = await registryOf(t, {
      needed: ['no token has this'],
      challenge: bearer(scope),
    })
    await failsWith(client.manifestDigest(app, latest), 'UNAUTHORIZED')
    assert.deepEqual(asked, [[own]])
    assert.equal(registry.requests.length, 2)
  })
}

test('of a hundred scopes four are asked for', async (t) => {
  const many = Array.from({ length: 100 }, (_, index) => `repository:vendor/app${index}:pull`)
  const { asked, client } = await registryOf(t, {
    needed: ['no token has this'],
    challenge: bearer(many.join(' ')),
  })
  await failsWith(client.manifestDigest(app, latest), 'UNAUTHORIZED')
  assert.deepEqual(asked[1], [own, ...many.slice(0, 4)])
})

for (const status of [200, 400, 401, 403]) {
  test(`a placeholder for which the token service answers ${status} does no harm: the 401 is the answer`, async (t) => {
    const placeholder = 'repository:user/image:pull'
    const { asked, state, client } = await registryOf(t, {
      needed: ['no token has this'],
      challenge: bearer(placeholder),
      tokenStatus: (scopes) => (scopes.includes(placeholder) ? status : 200),
    })
    await failsWith(
      client.manifestDigest(app, latest),
      'UNAUTHORIZED',
      /lets nobody read this without a login/,
    )
    // What it once refused it may give later, with our own scope as ever.
    Object.assign(state, { needed: [own] })
    await client.manifestDigest(app, latest)
    assert.deepEqual(asked[0], [own])
  })
}

test('a token service that is down for the second request is an outage, and no refusal', async (t) => {
  const { client } = await registryOf(t, {
    needed: [vendor],
    challenge: bearer(vendor),
    tokenStatus: (scopes) => (scopes.length > 1 ? 503 : 200),
  })
  await failsWith(client.manifestDigest(app, latest), 'SERVER_ERROR')
})

test('a challenge that names something else each time is answered twice, no more', async (t) => {
  const { registry, asked, client } = await registryOf(t, {
    needed: ['no token has this'],
    challenge: (realm, count) => bearer(`repository:vendor/app${count}:pull`)(realm),
  })
  await failsWith(client.manifestDigest(app, latest), 'UNAUTHORIZED')
  assert.equal(asked.length, 2)
  assert.equal(registry.requests.length, 3)
})

test('what one repository needs is not brought for another', async (t) => {
  const { asked, registry, state, client } = await registryOf(t, {
    needed: [vendor],
    challenge: bearer(vendor),
  })
  await client.manifestDigest(app, latest)
  Object.assign(state, { needed: ['repository:other:pull'] })
  await client.manifestDigest(other, latest)
  assert.deepEqual(asked.at(-1), ['repository:other:pull'])
  assert.notEqual(
    registry.requests.at(-1)?.headers.authorization,
    registry.requests[2]?.headers.authorization,
  )
})

test('scopes of a challenge with another realm are not asked for at ours', async (t) => {
  const { asked, client } = await registryOf(t, {
    needed: ['no token has this'],
    challenge: (realm) => [bearer(own)(realm), bearer(vendor)('http://127.0.0.9/token')],
  })
  await failsWith(client.manifestDigest(app, latest), 'UNAUTHORIZED')
  assert.deepEqual(asked, [[own]])
})

test('a further scope that changes is found out again', async (t) => {
  const { state, client } = await registryOf(t, { needed: [vendor], challenge: bearer(vendor) })
  await client.manifestDigest(app, latest)
  const moved = 'repository:vendor2/app:pull'
  Object.assign(state, { needed: [moved], challenge: bearer(moved) })
  await client.manifestDigest(app, latest)
})
