import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RedirectHosts } from '../../../src/names/redirect-hosts.ts'
import type { Digest } from '../../../src/oci/digest.ts'
import type { Tag } from '../../../src/oci/reference.ts'
import type { RepositoryName } from '../../../src/oci/repository-name.ts'
import { clientOf, collect, failsWith, listen, transportTo } from '../fixtures.ts'

// Neighbours: no list, an empty one; a host, a pattern, a port; the upstream's own host; a dot at the end, capitals; a
// redirect of a redirect; a manifest, a blob, its size, a list, a token.

const cases: readonly (readonly [entries: readonly string[] | undefined, url: string, isAllowed: boolean])[] =
  [
    [undefined, 'https://anywhere.test/', true],
    [[], 'https://anywhere.test/', false],
    [['cdn.test'], 'https://cdn.test/x', true],
    [['cdn.test'], 'https://CDN.test./x', true],
    [['cdn.test'], 'https://cdn.test:8443/x', true],
    [['cdn.test'], 'https://a.cdn.test/x', false],
    [['cdn.test'], 'https://cdn.test.evil.test/x', false],
    [['cdn.test:8443'], 'https://cdn.test:8443/x', true],
    [['cdn.test:8443'], 'https://cdn.test/x', false],
    [['cdn.test:443'], 'https://cdn.test/x', true],
    [['cdn.test:80'], 'http://cdn.test/x', true],
    [['*.cdn.test'], 'https://a.b.cdn.test/x', true],
    [['*.cdn.test'], 'https://cdn.test/x', false],
    [['*.cdn.test'], 'https://evilcdn.test/x', false],
    [['*.cdn.test:9000'], 'https://a.cdn.test:9000/x', true],
    [['*.cdn.test:9000'], 'https://a.cdn.test/x', false],
    [['other.test', 'cdn.test'], 'https://cdn.test@evil.test/x', false],
  ]

for (const [entries, url, isAllowed] of cases) {
  test(`redirects: ${JSON.stringify(entries)} ${isAllowed ? 'allow' : 'do not allow'} ${url}`, () =>
    assert.equal(new RedirectHosts(entries).allow(new URL(url)), isAllowed))
}

const name = 'library/app' as RepositoryName
const digest = `sha256:${'a'.repeat(64)}` as Digest
const signal = new AbortController().signal

/** A registry that sends us to another host with everything, its token service as well. */
async function sendingAway(t: Parameters<typeof listen>[0], what: 'registry' | 'tokens') {
  const other = await listen(t, (_request, response) => response.end('{"token":"t"}'), {
    address: '127.0.0.2',
  })
  const registry = await listen(t, ({ url = '', headers }, response) => {
    const isToken = url.startsWith('/token')
    if (isToken || (what === 'registry' && headers.authorization !== undefined))
      return response.writeHead(307, { location: `${other.url}${url}` }).end()
    const challenge = `Bearer realm="${registry.url}/token",service="s"`
    return response
      .writeHead(what === 'registry' ? 307 : 401, {
        location: `${other.url}${url}`,
        'www-authenticate': challenge,
      })
      .end()
  })
  return { other, registry }
}

for (const what of ['registry', 'tokens'] as const) {
  test(`what is not listed gets no connection, whatever the ${what} redirect`, async (t) => {
    const { other, registry } = await sendingAway(t, what)
    const client = clientOf(t, registry.url, { redirects: ['cdn.test', '127.0.0.3'] })
    const refused = /a redirect to 127\.0\.0\.2:\d+, which is not listed in upstreams\[\]\.redirects/
    await failsWith(client.manifest(name, 'latest' as Tag), 'REFUSED', refused)
    await failsWith(client.manifestDigest(name, 'latest' as Tag), 'REFUSED', refused)
    await failsWith(client.hasBlob(name, digest), 'REFUSED', refused)
    await failsWith(client.blobSize(name, digest), 'REFUSED', refused)
    await failsWith(client.blob(name, digest, { position: 0, signal }), 'REFUSED', refused)
    await failsWith(client.tags(name, ''), 'REFUSED', refused)
    await failsWith(client.referrers(name, digest), 'REFUSED', refused)
    assert.equal(other.connections(), 0)
  })
}

test('what is listed is followed, and where it leads on as well; its own host needs no entry', async (t) => {
  const last = await listen(t, (_request, response) => response.end('here'), { address: '127.0.0.3' })
  const cdn = await listen(t, (_request, response) => response.writeHead(307, { location: last.url }).end(), {
    address: '127.0.0.2',
  })
  const own = await listen(t, (_request, response) => response.writeHead(307, { location: cdn.url }).end())
  const registry = await listen(t, (_request, response) =>
    response.writeHead(307, { location: own.url }).end(),
  )
  const ask = async (redirects: readonly string[]): Promise<string> => {
    const transport = transportTo(t, registry.url, { redirects })
    const response = await transport.request({ method: 'GET', url: new URL(registry.url) })
    return (await collect(response.body())).toString()
  }
  assert.equal(await ask(['127.0.0.2', `127.0.0.3:${last.port}`]), 'here')
  await failsWith(ask(['127.0.0.2', '127.0.0.3:1']), 'REFUSED', /127\.0\.0\.3/)
  assert.equal(last.connections(), 1)
})

test('a host that the operator lists may be at a private address, one that a pattern has may not', async (t) => {
  const stored = await listen(t, (_request, response) => response.end('here'))
  const ask = async (redirects: readonly string[]): Promise<number> => {
    // The registry is at a public name, and answers through a proxy, which is asked for the storage as well.
    const { transport, url } = await publicRegistry(t, stored.url, redirects)
    return (await transport.request({ method: 'GET', url })).status
  }
  assert.equal(await ask(['storage.lan']), 200)
  await failsWith(ask(['*.lan']), 'REFUSED', /storage\.lan, an address of a private network/)
})

async function publicRegistry(
  t: Parameters<typeof listen>[0],
  storage: string,
  redirects: readonly string[],
) {
  const proxy = await listen(t, ({ url = '' }, response) => {
    if (url.startsWith('http://storage.lan/')) return response.end(storage)
    return response.writeHead(307, { location: 'http://storage.lan/' }).end()
  })
  const url = new URL('http://registry.test/')
  const proxyEnvironment = { HTTP_PROXY: proxy.url, http_proxy: proxy.url }
  return { transport: transportTo(t, url.href, { redirects, proxyEnvironment }), url }
}
