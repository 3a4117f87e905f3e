/**
 * What answers where a registry should be: at the start, and when a line is back.
 *
 * Neighbours that were thought of: pages with and without a type, with a byte order mark, with the status of an error;
 * a portal that redirects, at another host or the same; a login that is no registry's; an empty 200 and 204; text; a
 * registry that redirects its `/v2/` to another; a static registry whose `/v2/` is a page, a 403 or a 404, and that
 * serves all the same; a challenge that cannot be read; a page without end; 511; a foreign realm; nothing there.
 */
import assert from 'node:assert/strict'
import type { RequestListener } from 'node:http'
import { test } from 'node:test'
import type { Tag } from '../../src/oci/reference.ts'
import type { RepositoryName } from '../../src/oci/repository-name.ts'
import { until } from '../support/settle.ts'
import { clientOf, failsWith, listen } from './fixtures.ts'

const app = 'library/app' as RepositoryName
const latest = 'latest' as Tag

function answer(status: number, headers: Record<string, string> = {}, body = ''): RequestListener {
  return (_, response) => response.writeHead(status, headers).end(body)
}

const html = { 'content-type': 'text/html; charset=utf-8' }
const bearer = { 'www-authenticate': 'Bearer realm="http://127.0.0.1/token"' }
const version = { 'docker-distribution-api-version': 'registry/2.0' }

const found: readonly [what: string, answers: RequestListener, state: string, sentence: RegExp][] = [
  ['a registry', answer(200, { 'content-type': 'application/json' }, '{}'), 'registry', /^answers$/],
  ['an empty 200', answer(200), 'registry', /^answers$/],
  ['a 204', answer(204), 'registry', /^answers$/],
  ['plain text', answer(200, { 'content-type': 'text/plain' }, 'true'), 'registry', /^answers$/],
  ['a registry that sends pages', answer(200, { ...html, ...version }, '<html>'), 'registry', /^answers$/],
  ['a challenge', answer(401, bearer), 'registry', /^answers$/],
  [
    'a Basic challenge with a page',
    answer(401, { ...html, 'www-authenticate': 'Basic realm="x"' }, '<html>'),
    'registry',
    /^answers$/,
  ],
  ['a 401 without a challenge', answer(401, html, '<html>'), 'foreign', /a login that no registry asks for/],
  [
    'a portal',
    answer(200, html, '<html>Welcome'),
    'foreign',
    /answered with a web page\. Either the network wants a login first, or the url/,
  ],
  ['a page without a type', answer(200, {}, '\n <!doctype html><p>Hi'), 'foreign', /web page/],
  [
    'a page of another kind',
    answer(200, { 'content-type': 'application/xhtml+xml' }, ''),
    'foreign',
    /web page/,
  ],
  ['a portal that says 511', answer(511, html, '<html>'), 'foreign', /answered \/v2\/ with 511/],
  ['a 403', answer(403, html, '<html>'), 'forbidden', /refuses \/v2\/ with 403/],
  [
    'a 404',
    answer(404, html, '<html>'),
    'missing',
    /has no registry at http:.*: it answered \/v2\/ with 404\. Look at the url/,
  ],
  ['a 429', answer(429), 'limited', /limits our requests/],
  ['a 500', answer(500, html, '<html>'), 'failing', /is ill: it answered \/v2\/ with 500/],
  ['a 503', answer(503), 'failing', /503/],
  ['a 302 that leads nowhere', answer(302), 'foreign', /answered \/v2\/ with 302/],
]

for (const [what, answers, state, sentence] of found) {
  test(`at the start: ${what}`, async (t) => {
    const server = await listen(t, answers)
    const client = clientOf(t, server.url)
    const check = await client.check()
    assert.equal(check.state, state)
    assert.match(check.sentence, sentence)
    assert.equal(client.isReachable, true, 'what was found opens no circuit')
    assert.equal(server.requests.length, 1)
  })
}

const elsewhere: readonly [what: string, answers: RequestListener, path: string, state: string][] = [
  ['a portal at another host', answer(200, html, '<html>'), '/login', 'foreign'],
  ['a portal at another host that is no page', answer(200, {}, 'hello'), '/login', 'foreign'],
  ['a login at another host', answer(401, { 'www-authenticate': 'Basic realm="x"' }), '/login', 'foreign'],
  ['another registry', answer(401, bearer), '/v2/', 'registry'],
  ['another registry that is open', answer(200, version, '{}'), '/v2/', 'registry'],
]

for (const [what, answers, path, state] of elsewhere) {
  test(`at the start: a redirect to ${what}`, async (t) => {
    const other = await listen(t, answers, { address: '127.0.0.2' })
    const server = await listen(t, answer(302, { location: `${other.url}${path}` }))
    const check = await clientOf(t, server.url).check()
    assert.equal(check.state, state)
    if (state === 'foreign') assert.match(check.sentence, /redirects to http:\/\/127\.0\.0\.2/)
  })
}

test('at the start: a page without end is looked at, not read', async (t) => {
  const server = await listen(t, (_, response) => {
    response.writeHead(200, html)
    const timer = setInterval(() => response.write('x'.repeat(10_000)), 1)
    response.once('close', () => clearInterval(timer))
  })
  assert.equal((await clientOf(t, server.url).check()).state, 'foreign')
})

test('at the start: nothing there', async (t) => {
  const server = await listen(t, answer(200))
  server.server.close()
  const client = clientOf(t, server.url)
  assert.match((await client.check()).sentence, /^cannot be reached: \S+ refused it \(ECONNREFUSED\)$/)
  assert.equal(client.isReachable, false)
})

test('at the start: with an account, a token service that is not its own is named', async (t) => {
  const server = await listen(t, answer(401, { 'www-authenticate': 'Bearer realm="http://127.0.0.9/token"' }))
  const client = clientOf(t, server.url, { credentials: { username: 'a', password: 'b' } })
  assert.match((await client.check()).sentence, /^answers, but gives no token: .*127\.0\.0\.9.*realms/)
})

/** Opens the circuit of a client of a server, which then answers as told. */
async function outage(t: Parameters<typeof listen>[0], before: RequestListener, after: RequestListener) {
  let current: RequestListener = before
  const server = await listen(t, (request, response) => current(request, response))
  const client = clientOf(t, server.url)
  await client.check()
  await client.manifestDigest(app, latest).catch(() => {})
  current = (request) => request.socket.destroy()
  while (client.isReachable) await client.manifestDigest(app, latest).catch(() => {})
  current = after
  const asked = server.requests.length
  return {
    client,
    probed: () => server.requests.length > asked,
    become: (next: RequestListener) => (current = next),
  }
}

const registry = answer(200, version, '{}')
const impostors: readonly [what: string, answers: RequestListener][] = [
  ['the login page of a network', answer(200, html, '<html>')],
  ['a 511', answer(511, html)],
  ['a 404', answer(404)],
]

for (const [what, impostor] of impostors) {
  test(`while ${what} answers in its place, the upstream is not back`, async (t) => {
    const { client, probed, become } = await outage(t, registry, impostor)
    await until(probed, { timeoutMs: 10_000 })
    await failsWith(client.manifestDigest(app, latest), 'CIRCUIT_OPEN', /cannot be reached/)
    become(registry)
    await until(() => client.isReachable, { timeoutMs: 20_000 })
  })
}

test('a portal that redirects is not the upstream either', async (t) => {
  const portal = await listen(t, answer(200, html, '<html>'), { address: '127.0.0.2' })
  const { client, probed } = await outage(t, registry, answer(302, { location: `${portal.url}/login` }))
  await until(probed, { timeoutMs: 10_000 })
  await failsWith(client.manifestDigest(app, latest), 'CIRCUIT_OPEN')
})

/** A folder behind a web server: nothing at `/v2/`, files below. */
function folder(base: RequestListener): RequestListener {
  return (request, response) => (request.url === '/v2/' ? base(request, response) : response.end('{}'))
}

for (const [what, base] of [
  ['a page', answer(200, html, '<html>Index of /v2/')],
  ['a 403', answer(403, html)],
  ['a 404', answer(404, html)],
] as const) {
  test(`a registry of plain files that has ${what} at /v2/ is back when it was so before`, async (t) => {
    const { client } = await outage(t, folder(base), folder(base))
    await until(() => client.isReachable, { timeoutMs: 10_000 })
  })
}

for (const status of [401, 429, 500]) {
  test(`an upstream that answers ${status} is back`, async (t) => {
    const { client } = await outage(t, registry, answer(status, bearer))
    await until(() => client.isReachable, { timeoutMs: 10_000 })
  })
}
