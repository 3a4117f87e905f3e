import assert from 'node:assert/strict'
import { test } from 'node:test'
import Keyv from 'keyv'
import { KeyvExpiring } from '../../../src/flow/expiring.ts'
import type { Tag } from '../../../src/oci/reference.ts'
import type { RepositoryName } from '../../../src/oci/repository-name.ts'
import { type DockerHub, startDockerHub } from '../../support/docker-hub.ts'
import { buildImage } from '../../support/images.ts'
import { clientOf, failsWith, patient, tokensInMemory } from '../fixtures.ts'
import { scriptedRegistry } from '../scripted-registry.ts'

const image = buildImage()
const alpine = 'library/alpine' as RepositoryName
const nginx = 'library/nginx' as RepositoryName
const latest = 'latest' as Tag
const accounts = { operator: 'correct-horse' }
const credentials = { username: 'operator', password: 'correct-horse' }

async function hubWithImages(options: Parameters<typeof startDockerHub>[0] = {}): Promise<DockerHub> {
  const hub = await startDockerHub({ accounts, ...options })
  for (const name of [alpine, nginx]) hub.addImage(name, 'latest', image)
  return hub
}

test('fifty requests at once fetch one token', async (t) => {
  await using hub = await hubWithImages()
  const client = clientOf(t, hub.url, patient)
  await Promise.all(Array.from({ length: 50 }, () => client.manifestDigest(alpine, latest)))
  assert.equal(hub.count({ listener: 'token' }), 1)
  assert.equal(client.counters.tokens, 1)
})

test('a token is brought along from the second request on', async (t) => {
  await using hub = await hubWithImages()
  const client = clientOf(t, hub.url)
  for (let count = 0; count < 5; count += 1) await client.manifestDigest(alpine, latest)
  assert.equal(hub.count({ listener: 'registry', status: 401 }), 1)
  assert.equal(hub.count({ listener: 'registry' }), 6)
  assert.equal(hub.tokensIssued, 1)
})

test('each repository has a token of its own, for pulling only, without another 401', async (t) => {
  await using hub = await hubWithImages()
  const client = clientOf(t, hub.url)
  await client.manifestDigest(alpine, latest)
  await client.manifestDigest(nginx, latest)
  const queries = hub.find({ listener: 'token' }).map(({ url }) => new URL(url, hub.tokenUrl).searchParams)
  assert.deepEqual(
    queries.map((query) => query.getAll('scope')),
    [['repository:library/alpine:pull'], ['repository:library/nginx:pull']],
  )
  assert.deepEqual(queries[0]?.getAll('service'), ['registry.docker.io'])
  assert.equal(hub.count({ status: 401 }), 1)
})

test('the scope is ours, whatever the challenge says', async (t) => {
  const { registry, tokens } = await scriptedRegistry(t, {
    challenge: (realm) => `Bearer realm="${realm}",service="s",scope="repository:user/image:pull,push"`,
  })
  await clientOf(t, registry.url).manifestDigest(alpine, latest)
  const query = new URL(tokens.requests[0]?.url ?? '', tokens.url).searchParams
  assert.deepEqual(query.getAll('scope'), ['repository:library/alpine:pull'])
})

test('each account has tokens of its own, though the cache is shared', async (t) => {
  await using hub = await hubWithImages()
  const tokens = tokensInMemory()
  await clientOf(t, hub.url, { tokens, credentials }).manifest(alpine, latest)
  const accounts = () =>
    hub.find({ listener: 'token' }).map(({ url }) => new URL(url, hub.tokenUrl).searchParams.get('account'))
  assert.deepEqual(accounts(), [null, 'operator'])
  await clientOf(t, hub.url, { tokens }).manifest(alpine, latest)
  assert.deepEqual(accounts(), [null, 'operator'], 'the token of anyone is in the cache')
})

test('credentials go to the token service only, with the name of the account', async (t) => {
  await using hub = await hubWithImages()
  await clientOf(t, hub.url, { credentials }).manifest(alpine, latest)
  const [, asked] = hub.find({ listener: 'token' })
  assert.equal(
    asked?.headers.authorization,
    `Basic ${Buffer.from('operator:correct-horse').toString('base64')}`,
  )
  assert.equal(new URL(asked?.url ?? '', hub.tokenUrl).searchParams.get('account'), 'operator')
  for (const { headers } of hub.find({ listener: 'registry' })) {
    assert.doesNotMatch(headers.authorization ?? '', /basic/i)
  }
})

test('tokens survive in the cache: another client asks for none', async (t) => {
  await using hub = await hubWithImages()
  const tokens = tokensInMemory()
  await clientOf(t, hub.url, { tokens }).manifestDigest(alpine, latest)
  await clientOf(t, hub.url, { tokens }).manifestDigest(alpine, latest)
  assert.equal(hub.tokensIssued, 1)
})

test('a worthless token in the cache of a client before us fails one request at most', async (t) => {
  await using hub = await hubWithImages()
  const tokens = tokensInMemory()
  await clientOf(t, hub.url, { tokens }).manifestDigest(alpine, latest)
  hub.expireTokens()
  const client = clientOf(t, hub.url, { tokens })
  await client.manifestDigest(alpine, latest).catch(() => {})
  await client.manifestDigest(alpine, latest)
  assert.equal(hub.tokensIssued, 2)
})

const lifetimes: readonly [answer: object, kept: number][] = [
  [{ expires_in: 300 }, 270],
  [{ expires_in: 1 }, 0.5],
  [{ expires_in: 40 }, 20],
  [{}, 30],
  [{ expires_in: 0 }, 30],
  [{ expires_in: -5 }, 30],
  [{ expires_in: '300' }, 30],
  [{ expires_in: null }, 30],
]

for (const [answer, kept] of lifetimes) {
  test(`of a token with ${JSON.stringify(answer)}, ${kept} s are used`, async (t) => {
    const { registry, tokens } = await scriptedRegistry(t, { answer })
    const client = clientOf(t, registry.url)
    t.mock.timers.enable({ apis: ['Date'], now: 1_000_000 })
    await client.manifestDigest(alpine, latest)
    t.mock.timers.setTime(1_000_000 + kept * 1000 - 1)
    await client.manifestDigest(alpine, latest)
    assert.equal(tokens.requests.length, 1)
    t.mock.timers.setTime(1_000_000 + kept * 1000 + 1)
    await client.manifestDigest(alpine, latest)
    assert.equal(tokens.requests.length, 2)
    assert.equal(client.counters.requests.get('HEAD manifest 401'), 1, 'the upstream never saw an old token')
  })
}

for (const [direction, jumpMs] of [
  ['forward', 86_400_000],
  ['back', -86_400_000],
] as const) {
  test(`a clock that jumps ${direction} by a day costs one token at most`, async (t) => {
    await using hub = await hubWithImages()
    const client = clientOf(t, hub.url)
    const now = Date.now()
    t.mock.timers.enable({ apis: ['Date'], now })
    await client.manifestDigest(alpine, latest)
    t.mock.timers.setTime(now + jumpMs)
    // The upstream's clock did not jump: to it the token is as old as it really is.
    if (jumpMs < 0) hub.expireTokens()
    await Promise.all(Array.from({ length: 20 }, () => client.manifestDigest(alpine, latest)))
    assert.equal(hub.tokensIssued, 2)
  })
}

test('a 401 in the middle costs one fresh token, for fifty requests at once, too', async (t) => {
  await using hub = await hubWithImages()
  const client = clientOf(t, hub.url, patient)
  await client.manifestDigest(alpine, latest)
  hub.expireTokens()
  await Promise.all(Array.from({ length: 50 }, () => client.manifestDigest(alpine, latest)))
  assert.equal(hub.tokensIssued, 2)
})

test('a registry that never accepts a token is asked twice, then it is UNAUTHORIZED', async (t) => {
  const { registry, tokens } = await scriptedRegistry(t, { accept: () => false })
  await failsWith(clientOf(t, registry.url).manifestDigest(alpine, latest), 'UNAUTHORIZED')
  assert.equal(registry.requests.length, 2)
  assert.equal(tokens.requests.length, 1)
})

test('a refused token is replaced once, also where the service gives out the same one', async (t) => {
  let isAccepted = true
  const { registry, tokens } = await scriptedRegistry(t, {
    accept: () => isAccepted,
    answer: { token: 'always-the-same' },
  })
  const client = clientOf(t, registry.url)
  await client.manifestDigest(alpine, latest)
  isAccepted = false
  await failsWith(client.manifestDigest(alpine, latest), 'UNAUTHORIZED')
  assert.deepEqual([registry.requests.length, tokens.requests.length], [4, 2])
})

test('access_token is as good as token', async (t) => {
  const answer = { token: '', access_token: 'other-name' }
  const { registry } = await scriptedRegistry(t, {
    answer,
    accept: (header) => header === 'Bearer other-name',
  })
  await clientOf(t, registry.url).manifestDigest(alpine, latest)
})

test('a token that comes with 201 is one', async (t) => {
  const { registry } = await scriptedRegistry(t, {
    tokenHandler: (_request, response) => response.writeHead(201).end('{"token":"made"}'),
  })
  await clientOf(t, registry.url).manifestDigest(alpine, latest)
})

test('a cache that fails on every call costs tokens, nothing else', async (t) => {
  const broken = (): never => {
    throw new Error('the cache is broken')
  }
  const store = { get: broken, set: broken, delete: broken, clear: broken, has: broken }
  const tokens = new KeyvExpiring<string>(new Keyv({ store }), () => {})
  let isAccepted = true
  const { registry } = await scriptedRegistry(t, {
    accept: () => isAccepted,
    answer: { token: 'always-the-same' },
  })
  const client = clientOf(t, registry.url, { tokens })
  await client.manifestDigest(alpine, latest)
  await client.manifestDigest(alpine, latest)
  isAccepted = false
  await failsWith(client.manifestDigest(alpine, latest), 'UNAUTHORIZED')
})

test('Bearer is preferred to Basic', async (t) => {
  const { registry, tokens } = await scriptedRegistry(t, {
    challenge: (realm) => ['Basic realm="x"', `Bearer realm="${realm}"`],
  })
  await clientOf(t, registry.url, { credentials }).manifest(alpine, latest)
  assert.equal(tokens.requests.length, 2)
  assert.ok(registry.requests.every(({ headers }) => !headers.authorization?.startsWith('Basic')))
})

test('Bearer is preferred to Basic in one header, too, and without an account', async (t) => {
  const { registry, tokens } = await scriptedRegistry(t, {
    challenge: (realm) => `Basic realm="x", Bearer realm="${realm}"`,
  })
  await clientOf(t, registry.url).manifestDigest(alpine, latest)
  assert.equal(tokens.requests.length, 1)
})

test('Basic without credentials is UNAUTHORIZED, and says what is missing', async (t) => {
  await using hub = await hubWithImages({ auth: 'basic' })
  await failsWith(
    clientOf(t, hub.url).manifestDigest(alpine, latest),
    'UNAUTHORIZED',
    /user name and a password, and none are configured/,
  )
  assert.equal(hub.count(), 1)
})

test('a login of a kind that we do not know is named', async (t) => {
  const { registry } = await scriptedRegistry(t, { challenge: () => 'Negotiate' })
  await failsWith(clientOf(t, registry.url).manifestDigest(alpine, latest), 'UNAUTHORIZED', /\(negotiate\)/)
})

test('what only the account may read is read by nobody, and the message says that it is private', async (t) => {
  for (const auth of ['token', 'basic'] as const) {
    await using hub = await hubWithImages({ auth })
    hub.setPrivate(alpine, ['operator'])
    const client = clientOf(t, hub.url, { credentials })
    await failsWith(client.manifest(alpine, latest), 'UNAUTHORIZED', /library\/alpine is private/)
    await failsWith(client.tags(alpine, ''), 'UNAUTHORIZED', /is private/)
    assert.ok(hub.requests.every(({ headers }) => headers.authorization?.startsWith('Basic') !== true))
  }
})
