import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { RequestListener } from 'node:http'
import { test } from 'node:test'
import type { Tag } from '../../../src/oci/reference.ts'
import type { RepositoryName } from '../../../src/oci/repository-name.ts'
import { startDockerHub } from '../../support/docker-hub.ts'
import { buildImage } from '../../support/images.ts'
import { until } from '../../support/settle.ts'
import { clientOf, failsWith, listen } from '../fixtures.ts'
import { scriptedRegistry } from '../scripted-registry.ts'

const alpine = 'library/alpine' as RepositoryName
const latest = 'latest' as Tag
const credentials = { username: 'operator', password: 'correct-horse' }
const ok: RequestListener = (_request, response) => void response.end(JSON.stringify({ token: 'stolen' }))

test('a realm on another host is refused: no connection to it, no credentials, and the message says what to do', async (t) => {
  const foreign = await listen(t, ok, { address: '127.0.0.2' })
  await using hub = await startDockerHub()
  hub.fault({ listener: 'registry' }, { realm: `${foreign.url}/token` })
  const client = clientOf(t, hub.url, { credentials })
  for (let count = 0; count < 3; count += 1) {
    await failsWith(client.manifestDigest(alpine, latest), 'REFUSED', /127\.0\.0\.2.*upstreams\[\]\.realms/)
  }
  assert.equal(foreign.connections(), 0)
  assert.ok(hub.requests.every(({ headers }) => headers.authorization === undefined))
  assert.equal(client.isReachable, true, 'a refusal is no outage')
})

test('the realm on another host is asked where the operator lists it', async (t) => {
  const listed = await listen(t, ok, { address: '127.0.0.2' })
  const { registry } = await scriptedRegistry(t, { challenge: () => `Bearer realm="${listed.url}/token"` })
  const client = clientOf(t, registry.url, { credentials, realms: ['127.0.0.2'] })
  // Its address is of the same kind as the upstream's: loopback.
  await client.manifest(alpine, latest)
  assert.match(listed.requests[1]?.headers.authorization ?? '', /^Basic /)
})

for (const realm of [
  'file:///etc/passwd',
  'https://auth.docker.io@evil/',
  'http://a:b@127.0.0.1/',
  '/token',
  '',
]) {
  test(`realm ${JSON.stringify(realm)} is refused`, async (t) => {
    const { registry, tokens } = await scriptedRegistry(t, { challenge: () => `Bearer realm="${realm}"` })
    await failsWith(clientOf(t, registry.url, { credentials }).manifestDigest(alpine, latest), 'REFUSED')
    assert.equal(tokens.connections(), 0)
  })
}

test('a foreign realm does no lasting harm: the next right challenge is answered', async (t) => {
  await using hub = await startDockerHub()
  hub.addImage(alpine, 'latest', buildImage())
  hub.fault({ listener: 'registry' }, { realm: 'http://captive.portal.test/login' }, { times: 1 })
  const client = clientOf(t, hub.url)
  await failsWith(client.manifestDigest(alpine, latest), 'REFUSED')
  await client.manifestDigest(alpine, latest)
})

test('a token service that moved is found again by the next challenge', async (t) => {
  const gone = await listen(t, ok)
  let realm = `${gone.url}/token`
  const { registry, tokens } = await scriptedRegistry(t, {
    challenge: () => `Bearer realm="${realm}"`,
    answer: { expires_in: 300 },
  })
  const client = clientOf(t, registry.url)
  await client.manifestDigest(alpine, latest)
  gone.server.close()
  gone.server.closeAllConnections()
  realm = `${tokens.url}/token`
  const other = 'library/other' as RepositoryName
  await failsWith(client.manifestDigest(other, latest), 'UNREACHABLE')
  await client.manifestDigest(other, latest)
  assert.equal(tokens.requests.length, 1)
})

test('a redirect of the token service to another origin gets no credentials', async (t) => {
  const elsewhere = await listen(t, ok)
  const { registry } = await scriptedRegistry(t, {
    tokenHandler: (_request, response) => response.writeHead(307, { location: elsewhere.url }).end(),
  })
  await clientOf(t, registry.url, { credentials }).manifest(alpine, latest)
  assert.equal(elsewhere.requests.length, 2, 'as anyone, and as the account')
  assert.ok(elsewhere.requests.every(({ headers }) => headers.authorization === undefined))
})

const challenges: readonly [what: string, headers: readonly string[]][] = [
  ['no challenge', []],
  ['an unterminated quote', ['Bearer realm="http://127.0.0.1/token']],
  ['another scheme', ['Negotiate']],
  ['garbage', ['\u00ff\u00fe,,,="']],
  ['more than we read', [`Bearer realm="http://127.0.0.1/${'a'.repeat(15_900)}"`]],
]

for (const [what, headers] of challenges) {
  test(`a 401 with ${what} is an UpstreamError, and no login goes out`, async (t) => {
    const { registry, tokens } = await scriptedRegistry(t, { challenge: () => headers })
    const client = clientOf(t, registry.url, { credentials })
    await assert.rejects(client.manifestDigest(alpine, latest), { name: 'UpstreamError' })
    assert.equal(registry.requests.length, 1)
    assert.equal(registry.requests[0]?.headers.authorization, undefined)
    assert.equal(tokens.connections(), 0)
  })
}

test('a challenge of 64 KiB is an UpstreamError, and no login goes out', async (t) => {
  const { registry, tokens } = await scriptedRegistry(t, {
    challenge: (realm) => `Bearer realm="${realm}",x="${'a'.repeat(65_536)}"`,
  })
  const client = clientOf(t, registry.url, { credentials })
  await assert.rejects(client.manifestDigest(alpine, latest), { name: 'UpstreamError', code: 'UNREACHABLE' })
  assert.equal(tokens.connections(), 0)
})

test('of two Bearer challenges the first counts', async (t) => {
  const foreign = await listen(t, ok, { address: '127.0.0.2' })
  const { registry, tokens } = await scriptedRegistry(t, {
    challenge: (realm) => [`Bearer realm="${realm}"`, `Bearer realm="${foreign.url}"`],
  })
  await clientOf(t, registry.url, { credentials }).manifest(alpine, latest)
  assert.equal(tokens.requests.length, 2, 'as anyone, and as the account')
  assert.equal(foreign.connections(), 0)
})

const tokenAnswers: readonly [
  what: string,
  status: number,
  body: string,
  code: 'SERVER_ERROR' | 'RATE_LIMITED' | 'UNAUTHORIZED' | 'INVALID_RESPONSE',
][] = [
  ['500', 500, 'oops', 'SERVER_ERROR'],
  ['503 with an HTML page', 503, '<html>', 'SERVER_ERROR'],
  ['429', 429, '', 'RATE_LIMITED'],
  ['401', 401, '{}', 'UNAUTHORIZED'],
  ['403', 403, '{}', 'UNAUTHORIZED'],
  ['404', 404, '', 'UNAUTHORIZED'],
  ['an HTML page', 200, '<html>log in to the network</html>', 'INVALID_RESPONSE'],
  ['nothing', 200, '', 'INVALID_RESPONSE'],
  ['null', 200, 'null', 'INVALID_RESPONSE'],
  ['a list', 200, '[]', 'INVALID_RESPONSE'],
  ['no token', 200, '{"expires_in":300}', 'INVALID_RESPONSE'],
  ['a number for a token', 200, '{"token":1}', 'INVALID_RESPONSE'],
  ['an empty token', 200, '{"token":"","access_token":""}', 'INVALID_RESPONSE'],
  ['a token with a line break', 200, '{"token":"a\\r\\nX-Evil: 1"}', 'INVALID_RESPONSE'],
  ['a token with a space', 200, '{"token":"a b"}', 'INVALID_RESPONSE'],
  ['a token beyond ASCII', 200, '{"token":"\u00e9"}', 'INVALID_RESPONSE'],
]

for (const [what, status, body, code] of tokenAnswers) {
  test(`a token service that answers ${what} is ${code}, and the registry gets no token`, async (t) => {
    const { registry } = await scriptedRegistry(t, {
      tokenHandler: (_request, response) => response.writeHead(status).end(body),
    })
    await failsWith(clientOf(t, registry.url).manifestDigest(alpine, latest), code)
    assert.deepEqual(
      registry.requests.map(({ headers }) => headers.authorization),
      [undefined],
    )
  })
}

test('a token of more than 1 MiB is invalid, and little more is read', async (t) => {
  let written = 0
  const { registry, tokens } = await scriptedRegistry(t, {
    tokenHandler: async (_request, response) => {
      const closed = once(response, 'close').then(() => false)
      response.write('{"token":"')
      for (const piece = Buffer.alloc(65_536, 'x'); !response.destroyed; written += piece.length) {
        if (!response.write(piece) && !(await Promise.race([once(response, 'drain'), closed]))) return
      }
    },
  })
  await failsWith(
    clientOf(t, registry.url).manifestDigest(alpine, latest),
    'INVALID_RESPONSE',
    /more than 1048576/,
  )
  await until(() => tokens.requests.length === 1 && written > 1024 * 1024)
  assert.ok(written < 16 * 1024 * 1024, `${written} bytes`)
})

test('a token service that stalls is TIMED_OUT for all who wait, and asked again later', async (t) => {
  let isSilent = true
  const { registry, tokens } = await scriptedRegistry(t, {
    tokenHandler: (request, response) => void (isSilent || ok(request, response)),
  })
  const client = clientOf(t, registry.url, { stallMs: 1000 })
  const requests = Array.from({ length: 5 }, () =>
    failsWith(client.manifestDigest(alpine, latest), 'TIMED_OUT'),
  )
  await Promise.all(requests)
  assert.equal(tokens.requests.length, 1)
  isSilent = false
  await until(() => client.isReachable)
  await client.manifestDigest(alpine, latest)
})
