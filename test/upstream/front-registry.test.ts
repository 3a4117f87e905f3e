/**
 * Front registries (lscr.io, cr.fluentbit.io): they redirect to another registry, which wants a token of its own.
 *
 * Neighbours that were thought of: each status of a redirect; a front with a challenge of its own, with an account,
 * with cookies; only manifests, or only blobs, redirected; a redirect to the same host with another name; two fronts
 * in a row; back to the front; a final host that asks for Basic, that has its tokens elsewhere, that limits us, fails,
 * or is gone; a CDN behind it; a CDN that answers 401 or 403 with a challenge, also at a path like a registry's; HEAD
 * of a blob that is not there behind a front that redirects everything; pages of tags; a blob in two parts; a loop;
 * a challenge at every step; https to http; a private address; two upstreams behind one host.
 */
import assert from 'node:assert/strict'
import type { RequestListener } from 'node:http'
import { type TestContext, test } from 'node:test'
import type { Tag } from '../../src/oci/reference.ts'
import type { RepositoryName } from '../../src/oci/repository-name.ts'
import { type DockerHub, type DockerHubOptions, startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import {
  type ClientOptions,
  clientOf,
  collect,
  failsWith,
  listen,
  selfSigned,
  type TestServer,
} from './fixtures.ts'

const app = 'app' as RepositoryName
const latest = 'latest' as Tag
const image = buildImage({ layers: [50_000] })
const [layer = image.config] = image.layers
const { signal } = new AbortController()

/** A registry at an address of its own that has the image as `owner/app`, for whoever brings a token. */
async function finalRegistry(t: TestContext, options: DockerHubOptions = {}): Promise<DockerHub> {
  const hosts = { registry: '127.0.0.2', token: '127.0.0.2', cdn: '127.0.0.3' }
  const hub = await startDockerHub({ hosts, service: 'final', ...options })
  t.after(() => hub.close())
  hub.addImage('owner/app', 'latest', image)
  return hub
}

/** Redirects everything to the same path with another name. */
function redirectTo(base: () => string, name = 'owner/app', status = 307): RequestListener {
  return (request, response) => {
    const location = `${base()}${request.url?.replace('/v2/app/', `/v2/${name}/`)}`
    response.writeHead(status, { location, 'set-cookie': 'front=secret' }).end()
  }
}

async function start(
  t: TestContext,
  { options, ...more }: { options?: DockerHubOptions } & ClientOptions = {},
) {
  const hub = await finalRegistry(t, options)
  const front = await listen(
    t,
    redirectTo(() => hub.url),
  )
  return { hub, front, client: clientOf(t, front.url, more) }
}

function tokenQueries(hub: DockerHub): (string | null)[][] {
  return hub.find({ listener: 'token' }).map(({ url }) => {
    const query = new URL(url, hub.tokenUrl).searchParams
    return [query.get('service'), query.get('account'), ...query.getAll('scope')]
  })
}

for (const status of [301, 302, 303, 307, 308]) {
  test(`a front that answers ${status}: the token is for the final host, and the next question needs no 401`, async (t) => {
    const hub = await finalRegistry(t)
    const front = await listen(
      t,
      redirectTo(() => hub.url, 'owner/app', status),
    )
    const client = clientOf(t, front.url)
    assert.equal(await client.manifestDigest(app, latest), image.manifest.digest)
    assert.deepEqual(tokenQueries(hub), [['final', null, 'repository:owner/app:pull']])
    assert.equal(hub.count({ status: 401 }), 1)
    hub.reset()
    front.requests.length = 0
    await client.manifest(app, latest)
    assert.deepEqual([hub.count(), front.requests.length], [1, 1], 'one question to each')
  })
}

test('all kinds of questions go through: manifest, pages of tags, a blob in two parts, referrers', async (t) => {
  const { hub, client } = await start(t, { options: { referrers: true } })
  for (const tag of ['a', 'b', 'c']) hub.tag('owner/app', tag, image.manifest.digest)
  assert.equal((await client.manifest(app, latest)).claimedDigest, image.manifest.digest)
  const first = await client.tags(app, 'n=2')
  assert.deepEqual(first.tags, ['a', 'b'])
  assert.deepEqual((await client.tags(app, first.next ?? '')).tags, ['c', 'latest'])
  const head = await client.blob(app, layer.digest, { position: 0, signal })
  const tail = await client.blob(app, layer.digest, { position: 20_000, signal })
  assert.equal(tail.start, 20_000)
  const bytes = Buffer.concat([(await collect(head.body())).subarray(0, 20_000), await collect(tail.body())])
  assert.ok(bytes.equals(layer.bytes))
  assert.equal(await client.hasBlob(app, layer.digest), true)
  await client.referrers(app, image.manifest.digest)
  assert.equal(hub.tokensIssued, 1)
  assert.equal(hub.count({ status: 401 }), 1)
})

test('the CDN behind the final host gets no token, and the final host nothing of the front', async (t) => {
  const hub = await finalRegistry(t)
  const tokens = await listen(t, (_, response) => void response.end(JSON.stringify({ token: 'front-token' })))
  const front = await listen(t, (request, response) => {
    if (request.headers.authorization === undefined) {
      response
        .writeHead(401, { 'www-authenticate': `Bearer realm="${tokens.url}/token",service="front"` })
        .end()
    } else redirectTo(() => hub.url)(request, response)
  })
  const credentials = { username: 'operator', password: 'correct-horse' }
  const client = clientOf(t, front.url, { credentials, realms: ['127.0.0.1'] })
  await client.manifest(app, latest)
  ;(await client.blob(app, layer.digest, { position: 0, signal })).discard()
  assert.equal(tokens.requests.length, 2, 'as anyone, and as the account')
  assert.equal(front.requests.filter(({ headers }) => headers.authorization === undefined).length, 1)
  assert.deepEqual(tokenQueries(hub), [['final', null, 'repository:owner/app:pull']])
  for (const { headers, listener } of hub.requests) {
    assert.doesNotMatch(headers.authorization ?? '', /front-token|Basic/)
    assert.equal(headers.cookie, undefined)
    if (listener === 'cdn') assert.equal(headers.authorization, undefined)
  }
  assert.ok(
    front.requests.every(({ headers }) =>
      /^(?:undefined|Bearer front-token)$/.test(String(headers.authorization)),
    ),
  )
})

test('only manifests are redirected, or only blobs', async (t) => {
  for (const moved of ['manifests', 'blobs']) {
    const [hub, home] = [await finalRegistry(t), await startDockerHub({ auth: 'none' })]
    t.after(() => home.close())
    home.addImage('app', 'latest', image)
    const front = await listen(t, (request, response) => {
      if (request.url?.includes(`/${moved}/`)) redirectTo(() => hub.url)(request, response)
      else response.writeHead(307, { location: `${home.url}${request.url}` }).end()
    })
    const client = clientOf(t, front.url)
    await client.manifest(app, latest)
    const { body } = await client.blob(app, layer.digest, { position: 0, signal })
    assert.equal((await collect(body())).length, layer.size)
  }
})

test('a redirect to another name at the same host gets a token for that name, with the account', async (t) => {
  const hub = await startDockerHub({ accounts: { operator: 'correct-horse' } })
  t.after(() => hub.close())
  hub.addImage('owner/app', 'latest', image)
  hub.addImage('app', 'latest', image)
  hub.fault(
    { listener: 'registry', path: /\/v2\/app\/manifests\/latest/ },
    { redirectTo: '/v2/owner/app/manifests/latest' },
  )
  const client = clientOf(t, hub.url, { credentials: { username: 'operator', password: 'correct-horse' } })
  await client.manifest(app, latest)
  assert.ok(
    tokenQueries(hub).some(([, account, scope]) => account === null && scope === 'repository:owner/app:pull'),
  )
})

test('two fronts in a row, each with a challenge, and a loop of challenges ends', async (t) => {
  const hub = await finalRegistry(t)
  const realmed =
    (base: () => string): RequestListener =>
    (request, response) => {
      const { authorization, host = '' } = request.headers
      if (request.url?.startsWith('/token'))
        return void response.end(JSON.stringify({ token: `for-${host}` }))
      if (authorization === `Bearer for-${host}`) return redirectTo(base)(request, response)
      response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${host}/token"` }).end()
    }
  const second = await listen(
    t,
    realmed(() => hub.url),
    { address: '127.0.0.4' },
  )
  const first = await listen(
    t,
    realmed(() => second.url),
  )
  const client = clientOf(t, first.url)
  // Its name changes once, at the first step.
  assert.equal(await client.manifestDigest(app, latest), image.manifest.digest)
  for (const server of [first, second]) server.requests.length = 0
  await client.manifestDigest(app, latest)
  assert.deepEqual([first.requests.length, second.requests.length], [1, 1])

  const never: TestServer = await listen(t, (request, response) => {
    if (request.url?.startsWith('/token'))
      return void response.end(JSON.stringify({ token: String(Math.random()) }))
    response
      .writeHead(401, {
        'www-authenticate': `Bearer realm="${never.url}/token",scope="repository:a${never.requests.length}:pull"`,
      })
      .end()
  })
  const loop = await listen(
    t,
    redirectTo(() => never.url),
  )
  await failsWith(clientOf(t, loop.url).manifestDigest(app, latest), 'UNAUTHORIZED')
  assert.ok(loop.requests.length <= 6, `${loop.requests.length} questions`)
})

test('back at the front the account stays out', async (t) => {
  const secret = buildImage({ seed: 'secret' })
  const hub = await startDockerHub({ accounts: { operator: 'correct-horse' } })
  t.after(() => hub.close())
  hub.addImage('app', 'latest', image)
  hub.addImage('acme/secret', 'latest', secret)
  hub.setPrivate('acme/secret', ['operator'])
  const evil = await listen(
    t,
    redirectTo(() => hub.url, 'acme/secret'),
    { address: '127.0.0.2' },
  )
  const client = clientOf(t, hub.url, { credentials: { username: 'operator', password: 'correct-horse' } })
  assert.equal((await client.manifest(app, latest)).claimedDigest, image.manifest.digest)
  hub.fault(
    { listener: 'registry', method: 'GET', path: /\/v2\/app\// },
    { redirectTo: `${evil.url}/v2/app/manifests/latest` },
  )
  await failsWith(client.manifest(app, latest), 'UNAUTHORIZED')
  assert.equal(hub.bytesSent(secret.manifest.digest), 0)
})

test('a final host that asks for a user name and a password is refused with a sentence', async (t) => {
  const { hub, client } = await start(t, {
    options: { auth: 'basic' },
    credentials: { username: 'operator', password: 'p' },
  })
  const { client: bare } = await start(t, { options: { auth: 'basic' } })
  await failsWith(
    bare.manifestDigest(app, latest),
    'UNAUTHORIZED',
    /127\.0\.0\.2:\d+, to which it redirects: it asks for a user name/,
  )
  await assert.rejects(client.manifest(app, latest), { code: 'UNAUTHORIZED' })
  assert.ok(hub.requests.every(({ headers }) => headers.authorization === undefined))
})

test('a realm that is not of the final host is refused: no connection to it; the list of realms counts there too', async (t) => {
  const foreign = await listen(t, (_, response) => void response.end(JSON.stringify({ token: 'stolen' })), {
    address: '127.0.0.9',
  })
  const { hub, front, client } = await start(t)
  hub.fault({ listener: 'registry' }, { realm: `${foreign.url}/token` })
  await failsWith(
    client.manifestDigest(app, latest),
    'REFUSED',
    /127\.0\.0\.2:\d+, to which it redirects: .*127\.0\.0\.9.*realms/,
  )
  // Also where it is the front's own: its tokens are not for others.
  hub.clearFaults()
  hub.fault({ listener: 'registry' }, { realm: `${front.url}/token` })
  await failsWith(client.manifestDigest(app, latest), 'REFUSED')
  assert.equal(foreign.connections(), 0)
  hub.clearFaults()
  hub.fault({ listener: 'registry' }, { realm: `${foreign.url}/token` })
  const listed = clientOf(t, front.url, { realms: ['127.0.0.9'] })
  await failsWith(listed.manifestDigest(app, latest), 'UNAUTHORIZED')
  assert.equal(foreign.connections(), 1)
})

test('a 429 of the final host is told by its name, stops questions to it, and not those to the front', async (t) => {
  const hub = await finalRegistry(t)
  const front = await listen(t, (request, response) => {
    if (request.url?.includes('/here/')) response.end()
    else redirectTo(() => hub.url)(request, response)
  })
  const client = clientOf(t, front.url)
  hub.fault({ listener: 'registry' }, { status: 429, retryAfter: 60 })
  await failsWith(
    client.manifestDigest(app, latest),
    'RATE_LIMITED',
    /127\.0\.0\.2:\d+, to which it redirects: its limit/,
  )
  const asked = hub.count()
  await failsWith(client.manifestDigest(app, latest), 'RATE_LIMITED', /127\.0\.0\.2/)
  assert.equal(hub.count(), asked)
  await client.manifestDigest('here' as RepositoryName, latest)
})

test('a final host that fails, or is gone, says nothing about the front', async (t) => {
  const { hub, front, client } = await start(t)
  hub.fault({ listener: 'registry' }, { status: 503 })
  await failsWith(
    client.manifestDigest(app, latest),
    'SERVER_ERROR',
    /127\.0\.0\.2:\d+, to which it redirects: it answered 503/,
  )
  hub.clearFaults()
  await hub.stop()
  for (let count = 0; count < 4; count += 1) {
    await failsWith(
      client.manifestDigest(app, latest),
      'UNREACHABLE',
      /127\.0\.0\.2:\d+, to which it redirects/,
    )
  }
  assert.equal(client.isReachable, true)
  assert.equal(front.requests.length, 5)
  await hub.start()
  await client.manifestDigest(app, latest)
})

test('what is not there is not there: a redirect to another registry is no answer', async (t) => {
  const { hub, client } = await start(t)
  hub.remove('owner/app', layer.digest)
  assert.equal(await client.hasBlob(app, layer.digest), false)
  await failsWith(client.manifestDigest(app, 'missing' as Tag), 'NOT_FOUND')
})

const storagePaths = [
  '/bucket/data?X-Amz-Signature=abc',
  `/v2/app/blobs/${layer.digest}?Signature=abc`,
  `/docker/registry/v2/blobs/sha256/aa/aabb/data?sig=abc`,
]

for (const path of storagePaths) {
  for (const status of [401, 403]) {
    test(`storage at ${path.slice(0, 25)} that answers ${status} with a challenge is no registry`, async (t) => {
      const realm = await listen(t, (_, response) => void response.end(JSON.stringify({ token: 'x' })), {
        address: '127.0.0.2',
      })
      const cdn = await listen(
        t,
        (_, response) =>
          response.writeHead(status, { 'www-authenticate': `Bearer realm="${realm.url}/token"` }).end(),
        { address: '127.0.0.2' },
      )
      const registry = await listen(t, (_, response) =>
        response.writeHead(307, { location: `${cdn.url}${path}` }).end(),
      )
      const client = clientOf(t, registry.url)
      await assert.rejects(client.blob(app, layer.digest, { position: 0, signal }), {
        message: /127\.0\.0\.2/,
      })
      await assert.rejects(client.blob(app, layer.digest, { position: 0, signal }), {
        message: /127\.0\.0\.2/,
      })
      assert.equal(realm.connections(), 0)
      assert.ok(cdn.requests.every(({ headers }) => headers.authorization === undefined))
    })
  }
}

test('https is not left for a final host at http', async (t) => {
  const certificate = await selfSigned('IP:127.0.0.1')
  const hub = await finalRegistry(t)
  const front = await listen(
    t,
    redirectTo(() => hub.url),
    { tls: certificate },
  )
  await failsWith(
    clientOf(t, front.url, { ca: certificate.cert }).manifestDigest(app, latest),
    'REFUSED',
    /https to http/,
  )
  assert.equal(hub.count(), 0)
})

test('a token that the final host no longer takes is replaced', async (t) => {
  const { hub, client } = await start(t)
  await client.manifestDigest(app, latest)
  hub.expireTokens()
  await client.manifestDigest(app, latest)
  assert.equal(hub.tokensIssued, 2)
})
