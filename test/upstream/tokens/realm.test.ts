import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { getDomain } from 'tldts'
import { acceptRealm } from '../../../src/upstream/tokens/realm.ts'

const hub = 'https://registry-1.docker.io'

const cases: readonly [
  realm: string | undefined,
  upstream: string,
  listed: readonly string[],
  ok: boolean,
][] = [
  // At home: the upstream's own host at any port, and its registrable domain.
  ['https://auth.docker.io/token', hub, [], true],
  ['https://registry-1.docker.io/token', hub, [], true],
  ['https://registry-1.docker.io:8443/token', hub, [], true],
  ['https://docker.io/token', hub, [], true],
  ['HTTPS://AUTH.DOCKER.IO/token', hub, [], true],
  ['https://a.b.example.co.uk/t', 'https://registry.example.co.uk', [], true],
  ['http://registry.lan:5001/token', 'http://registry.lan:5000', [], true],
  ['https://registry.lan:5001/token', 'http://registry.lan:5000', [], true],
  ['http://127.0.0.1:5001/token', 'http://127.0.0.1:5000', [], true],
  ['http://[::1]:5001/token', 'http://[::1]:5000', [], true],
  ['http://localhost:1/token', 'http://localhost:2', [], true],

  // Foreign.
  ['https://auth.docker.io.evil.test/', hub, [], false],
  ['https://docker.io.evil.test/', hub, [], false],
  ['https://evildocker.io/', hub, [], false],
  ['https://evil.test/?https://auth.docker.io/', hub, [], false],
  ['https://evil.test/auth.docker.io/token', hub, [], false],
  ['https://evil.test\\.docker.io/', hub, [], false],
  ['https://auth.docker.io@evil/', hub, [], false],
  ['https://127.0.0.1/token', hub, [], false],
  ['https://io/', hub, [], false],
  ['http://127.0.0.2:5000/token', 'http://127.0.0.1:5000', [], false],
  ['http://10.0.0.2/token', 'http://10.0.0.1', [], false],
  ['http://127.0.0.1/token', 'http://localhost', [], false],
  ['http://[::1]/token', 'http://127.0.0.1', [], false],
  ['http://other/token', 'http://registry', [], false],

  // Public suffixes are nobody's own domain.
  ['https://evil.github.io/token', 'https://registry.github.io', [], false],
  ['https://evil.co.uk/token', 'https://registry.co.uk', [], false],
  ['https://co.uk/token', 'https://registry.co.uk', [], false],
  ['https://evil.s3.amazonaws.com/', 'https://mine.s3.amazonaws.com', [], false],

  // What is no address to get a token from.
  [undefined, hub, [], false],
  ['', hub, [], false],
  ['/token', hub, [], false],
  ['//auth.docker.io/token', hub, [], false],
  ['not a url', hub, [], false],
  ['file:///etc/passwd', hub, [], false],
  ['file://auth.docker.io/etc/passwd', hub, [], false],
  ['ftp://auth.docker.io/', hub, [], false],
  ['javascript:alert(1)', hub, [], false],
  ['http://auth.docker.io/token', hub, [], false],
  ['ws://127.0.0.1/token', 'http://127.0.0.1', [], false],
  ['https://user@auth.docker.io/token', hub, [], false],
  ['https://user:password@auth.docker.io/token', hub, [], false],
  ['https://:password@auth.docker.io/token', hub, [], false],

  // Listed by the operator: a host, a host with its port, an origin, or a URL.
  ['https://login.example.net/token', hub, ['login.example.net'], true],
  ['https://login.example.net:8443/token', hub, ['login.example.net'], true],
  ['https://login.example.net:8443/token', hub, ['login.example.net:8443'], true],
  ['https://login.example.net:9443/token', hub, ['login.example.net:8443'], false],
  ['https://a.login.example.net/token', hub, ['login.example.net'], false],
  ['https://login.example.net.evil.test/token', hub, ['login.example.net'], false],
  ['https://login.example.net/token', hub, ['https://login.example.net'], true],
  ['https://login.example.net/token', hub, ['https://login.example.net/token'], true],
  ['https://login.example.net/other', hub, ['https://login.example.net/token'], false],
  ['https://login.example.net:8443/token', hub, ['https://login.example.net/token'], false],
  ['http://login.example.net/token', hub, ['login.example.net'], false],
  ['http://login.example.net/token', hub, ['http://login.example.net'], false],
  ['https://user@login.example.net/token', hub, ['login.example.net'], false],
  ['https://evil.test/token', hub, ['', 'https://', '://'], false],
]

for (const [realm, upstream, listed, ok] of cases) {
  const list = listed.length > 0 ? ` with ${JSON.stringify(listed)} listed` : ''
  test(`${upstream}${list} ${ok ? 'may' : 'may not'} send us to ${JSON.stringify(realm)}`, () => {
    const accepted = acceptRealm(realm, new URL(upstream), listed)
    assert.equal(accepted?.href, ok ? new URL(realm ?? '').href : undefined)
  })
}

const label = fc.constantFrom(
  'docker',
  'auth',
  'evil',
  'registry-1',
  'github',
  'example',
  'co',
  'xn--80ak6aa92e',
)
const suffix = fc.constantFrom('io', 'com', 'co.uk', 'github.io', 'test', 'lan', 's3.amazonaws.com')
const name = fc
  .tuple(fc.array(label, { maxLength: 3 }), suffix)
  .map(([labels, end]) => [...labels, end].join('.'))
const host = fc.oneof(
  name,
  fc.constantFrom('127.0.0.1', '10.0.0.1', '[::1]', 'localhost', '0x7f.1', 'registry'),
)
const port = fc.constantFrom('', ':443', ':80', ':5000')
const userinfo = fc.constantFrom('', '', '', 'docker.io@', 'a:b@', '@', ':@')
const scheme = fc.constantFrom('https://', 'http://', 'HTTPS:\\\\', 'file://', 'https:', '//', '')
const tail = fc.constantFrom('', '/token', '/?a=b', '\\@docker.io/', '#@docker.io', '/../token', '\t', '.')
const realm = fc.oneof(
  { weight: 8, arbitrary: fc.tuple(scheme, userinfo, host, port, tail).map((parts) => parts.join('')) },
  { weight: 1, arbitrary: fc.webUrl() },
  { weight: 1, arbitrary: fc.string() },
)

test('whatever is accepted lies on a host of the upstream or of the list, is as safe, and carries no login', () => {
  let accepted = 0
  fc.assert(
    fc.property(
      realm,
      fc.constantFrom('https://', 'http://'),
      host,
      fc.array(host, { maxLength: 1 }),
      (text, upstreamScheme, upstreamHost, listed) => {
        const upstream = new URL(`${upstreamScheme}${upstreamHost}`)
        const url = acceptRealm(text, upstream, listed)
        if (url === undefined) return
        accepted += 1
        assert.ok(url.protocol === 'https:' || (url.protocol === 'http:' && upstream.protocol === 'http:'))
        assert.equal(url.username + url.password, '')
        const domain = getDomain(upstream.hostname, { allowPrivateDomains: true })
        const isOnDomain =
          domain !== null &&
          (url.hostname === domain || url.hostname.replace(/\.$/, '').endsWith(`.${domain}`))
        const isAtHome = url.hostname === upstream.hostname || url.hostname.replace(/\.$/, '') === domain
        assert.ok(isAtHome || isOnDomain || listed.includes(url.hostname), `${text} for ${upstream}`)
      },
    ),
    { numRuns: 20_000 },
  )
  assert.ok(accepted > 50, 'the generator hits both sides')
})
