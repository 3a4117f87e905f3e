/**
 * Who asks, and by which address, with web servers in front. Thought of: headers of one that nobody named; lists that a
 * client has begun itself; several hops, each adding or only the last one writing; ports, brackets, mapped addresses,
 * names that hide an address; both kinds of headers, one of them the client's own; HTTP/1.0; a Unix socket.
 */
import assert from 'node:assert/strict'
import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { test } from 'node:test'
import { Forwarding } from '../../src/http/forwarding.ts'

type Headers = Readonly<Record<string, string>>
type Asked = { peer?: string | undefined; httpVersion?: string; url?: string; isTls?: boolean }

function requestOf(headers: Headers, { peer = '127.0.0.1', ...more }: Asked = {}): IncomingMessage {
  const { httpVersion = '1.1', url = '/v2/', isTls = false } = more
  const socket = Object.defineProperty(new Socket(), 'remoteAddress', {
    value: peer === 'unix' ? undefined : peer,
  })
  return Object.assign(new IncomingMessage(Object.assign(socket, { encrypted: isTls })), {
    url,
    httpVersion,
    headers: { host: 'larder:5000', ...headers },
  })
}

function look(trustProxy: readonly string[], headers: Headers, asked?: Asked, publicUrl?: string) {
  const forwarding = new Forwarding({ trustProxy, publicUrl })
  const request = requestOf(headers, asked)
  const told = forwarding.told(request)
  const { address, by } = forwarding.originOf(request, told)
  const { url } = forwarding.publicAddressOf(request, told)
  const link = forwarding.publicAddressOf(request, told).linkTo('/v2/app/blobs/x')
  return { who: `${by} ${address ?? 'unix'}`, url, link, routed: forwarding.routedUrl(request) }
}

const trusted = ['127.0.0.1', '10.9.0.0/16', '2001:db8:9::/48', 'unix']

for (const [what, headers, who, asked] of [
  ['nothing is said', {}, 'direct 192.0.2.7', { peer: '192.0.2.7' }],
  ['nothing is said on a socket of both families', {}, 'direct 192.0.2.7', { peer: '::ffff:192.0.2.7' }],
  ['a stranger says it', { 'x-forwarded-for': '10.0.0.1' }, 'hidden 192.0.2.7', { peer: '192.0.2.7' }],
  ['a stranger says it by the RFC', { forwarded: 'for=10.0.0.1' }, 'hidden 192.0.2.7', { peer: '192.0.2.7' }],
  ['a stranger speaks HTTP/1.0', {}, 'hidden 192.0.2.7', { peer: '192.0.2.7', httpVersion: '1.0' }],
  ['a trusted one says nothing', {}, 'untold 127.0.0.1', {}],
  ['a trusted one names only the host', { 'x-forwarded-host': 'a' }, 'untold 127.0.0.1', {}],
  ['a trusted one says it', { 'x-forwarded-for': '192.0.2.7' }, 'told 192.0.2.7', {}],
  ['it speaks HTTP/1.0', { 'x-forwarded-for': '192.0.2.7' }, 'told 192.0.2.7', { httpVersion: '1.0' }],
  ['it comes by a Unix socket', { 'x-forwarded-for': '192.0.2.7' }, 'told 192.0.2.7', { peer: 'unix' }],
  ['it is in a network', { 'x-forwarded-for': '192.0.2.7' }, 'told 192.0.2.7', { peer: '10.9.8.7' }],
  ['it is mapped', { 'x-forwarded-for': '192.0.2.7' }, 'told 192.0.2.7', { peer: '::ffff:10.9.8.7' }],
  ['it has IPv6', { 'x-forwarded-for': '192.0.2.7' }, 'told 192.0.2.7', { peer: '2001:db8:9::1' }],
  ['with a port', { 'x-forwarded-for': '192.0.2.7:4711' }, 'told 192.0.2.7', {}],
  ['IPv6 with a port', { 'x-forwarded-for': '[2001:db8::7]:4711' }, 'told 2001:db8::7', {}],
  ['IPv6 as it is', { 'x-forwarded-for': '2001:db8::7' }, 'told 2001:db8::7', {}],
  ['IPv4 that is mapped', { 'x-forwarded-for': '::ffff:192.0.2.7' }, 'told 192.0.2.7', {}],
  ['the client began the list', { 'x-forwarded-for': '10.0.0.1, 192.0.2.7' }, 'told 192.0.2.7', {}],
  ['two hops', { 'x-forwarded-for': '10.0.0.1, 192.0.2.7, 10.9.1.1' }, 'told 192.0.2.7', {}],
  ['all are trusted', { 'x-forwarded-for': '10.9.3.3, 10.9.1.1' }, 'told 10.9.3.3', {}],
  ['a name that hides it', { 'x-forwarded-for': '10.0.0.1, unknown' }, 'untold 127.0.0.1', {}],
  ['nginx at a Unix socket', { 'x-forwarded-for': 'unix:' }, 'untold 127.0.0.1', {}],
  ['behind a hop, a name that hides it', { 'x-forwarded-for': '_a, 10.9.1.1' }, 'untold 127.0.0.1', {}],
  ['an empty list', { 'x-forwarded-for': '' }, 'untold 127.0.0.1', {}],
  ['no address', { 'x-forwarded-for': '0x7f.1' }, 'untold 127.0.0.1', {}],
  ['by the RFC', { forwarded: 'for=192.0.2.7;proto=https;by=203.0.113.43' }, 'told 192.0.2.7', {}],
  ['quoted, IPv6, port', { forwarded: 'For="[2001:db8:cafe::17]:4711"' }, 'told 2001:db8:cafe::17', {}],
  [
    'several hops',
    { forwarded: 'for=10.0.0.1, for=192.0.2.7;proto=https,for=10.9.1.1' },
    'told 192.0.2.7',
    {},
  ],
  ['a comma in quotes', { forwarded: 'for="192.0.2.7";host="a,for=10.0.0.1"' }, 'told 192.0.2.7', {}],
  ['an element that hides it', { forwarded: 'for=10.0.0.1, for=_x' }, 'untold 127.0.0.1', {}],
  ['an element without for', { forwarded: 'for=10.0.0.1, proto=https' }, 'untold 127.0.0.1', {}],
  ['malformed', { forwarded: 'for=10.0.0.1, for="192.0.2.7' }, 'untold 127.0.0.1', {}],
  ['for twice', { forwarded: 'for=10.0.0.1;for=192.0.2.7' }, 'untold 127.0.0.1', {}],
  [
    'both kinds say the same',
    { forwarded: 'for=192.0.2.7', 'x-forwarded-for': '10.0.0.1, 192.0.2.7' },
    'told 192.0.2.7',
    {},
  ],
  [
    'one kind is the client’s own',
    { forwarded: 'for=10.0.0.1', 'x-forwarded-for': '192.0.2.7' },
    'untold 127.0.0.1',
    {},
  ],
] as const satisfies readonly (readonly [string, Headers, string, Asked])[]) {
  test(`from where: ${what}`, () => {
    assert.equal(look(trusted, headers, asked).who, who)
  })
}

test('from where: a connection that is closed already is of nobody', () => {
  const forwarding = new Forwarding({ trustProxy: trusted })
  for (const headers of [{}, { 'x-forwarded-for': '192.0.2.7' }]) {
    const request = requestOf(headers, { peer: 'unix' })
    request.socket.destroy()
    assert.equal(forwarding.originOf(request, forwarding.told(request)).by, 'hidden')
  }
})

test('a page in a browser is told from a client', () => {
  const isOfPage = (headers: Headers) => new Forwarding().originOf(requestOf(headers), undefined).isOfPage
  assert.equal(isOfPage({}), false)
  assert.equal(isOfPage({ 'sec-fetch-site': 'none' }), false, 'typed in by hand')
  for (const site of ['cross-site', 'same-site', 'same-origin', '']) {
    assert.equal(isOfPage({ 'sec-fetch-site': site }), true, site)
  }
  for (const origin of ['null', 'http://127.0.0.1:5000', '']) assert.equal(isOfPage({ origin }), true, origin)
})

const told = { 'x-forwarded-for': '192.0.2.7' }

for (const [what, headers, url, link, asked] of [
  ['as the client wrote it', {}, 'http://larder:5000', '/v2/app/blobs/x', { peer: '192.0.2.1' }],
  ['by TLS', {}, 'https://larder:5000', '/v2/app/blobs/x', { peer: '192.0.2.1', isTls: true }],
  [
    'a stranger’s word changes nothing',
    {
      ...told,
      forwarded: 'host=evil;proto=https',
      'x-forwarded-host': 'evil',
      'x-forwarded-proto': 'https',
      'x-forwarded-port': '9',
      'x-forwarded-prefix': '/evil',
    },
    'http://larder:5000',
    '/v2/app/blobs/x',
    { peer: '192.0.2.1' },
  ],
  ['scheme', { ...told, 'x-forwarded-proto': 'HTTPS' }, 'https://larder:5000', '/v2/app/blobs/x', {}],
  [
    'scheme of TLS behind',
    { ...told, 'x-forwarded-proto': 'http' },
    'http://larder:5000',
    '/v2/app/blobs/x',
    { isTls: true },
  ],
  [
    'all of them, as Traefik and Caddy write it',
    {
      ...told,
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'm.example:8443',
      'x-forwarded-port': '8443',
    },
    'https://m.example:8443',
    '/v2/app/blobs/x',
    {},
  ],
  [
    'a port that the host lacks',
    { ...told, 'x-forwarded-proto': 'https', 'x-forwarded-host': 'm.example', 'x-forwarded-port': '8443' },
    'https://m.example:8443',
    '/v2/app/blobs/x',
    {},
  ],
  [
    'the port of an inner server',
    { ...told, 'x-forwarded-proto': 'https', 'x-forwarded-host': 'm.example', 'x-forwarded-port': '80' },
    'https://m.example',
    '/v2/app/blobs/x',
    {},
  ],
  [
    'a prefix, of two that were taken off one after the other',
    { ...told, 'x-forwarded-prefix': '/house/, /registry' },
    'http://larder:5000/house/registry',
    '/house/registry/v2/app/blobs/x',
    {},
  ],
  [
    'by the RFC',
    { forwarded: 'for=192.0.2.7;proto=https;host="[2001:db8::5]:8443"' },
    'https://[2001:db8::5]:8443',
    '/v2/app/blobs/x',
    {},
  ],
  [
    'by the RFC, of the hop that the client came to',
    {
      forwarded:
        'for=1.1.1.1;host=evil, for=192.0.2.7;proto=https;host=m.example, for=10.9.1.1;proto=http;host=in',
    },
    'https://m.example',
    '/v2/app/blobs/x',
    {},
  ],
  [
    'each hop adds to the list, and the client began it',
    { 'x-forwarded-for': '1.1.1.1, 192.0.2.7, 10.9.1.1', 'x-forwarded-proto': 'ftp, https, http' },
    'https://larder:5000',
    '/v2/app/blobs/x',
    {},
  ],
  [
    'the two kinds say different things',
    {
      forwarded: 'for=192.0.2.7;proto=http;host=evil',
      ...told,
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'm',
    },
    'http://larder:5000',
    '/v2/app/blobs/x',
    {},
  ],
  [
    'a prefix that would be another host',
    { ...told, 'x-forwarded-prefix': '//evil.example' },
    'http://larder:5000/evil.example',
    '/evil.example/v2/app/blobs/x',
    {},
  ],
] as const satisfies readonly (readonly [string, Headers, string, string, Asked])[]) {
  test(`by which address: ${what}`, () => {
    const found = look(trusted, headers, asked)
    assert.deepEqual([found.url, found.link], [url, link])
  })
}

for (const headers of [
  { 'x-forwarded-host': 'a/b' },
  { 'x-forwarded-host': 'user@evil' },
  { 'x-forwarded-host': '' },
  { 'x-forwarded-proto': 'javascript' },
  { 'x-forwarded-prefix': '/../x' },
  { 'x-forwarded-prefix': 'x' },
  { 'x-forwarded-prefix': '/x>; rel="next"' },
] as unknown as Headers[]) {
  test(`by which address: ${JSON.stringify(headers)} is repeated to nobody`, () => {
    const { url, link } = look(trusted, { ...told, ...headers })
    assert.deepEqual([url, link], ['http://larder:5000', '/v2/app/blobs/x'])
  })
}

test('by which address: the configured one wins over all that is told', () => {
  const headers = { ...told, 'x-forwarded-host': 'm', 'x-forwarded-prefix': '/p' }
  const { url, link } = look(trusted, headers, {}, 'https://mirror.example.com/registry')
  assert.deepEqual(
    [url, link],
    ['https://mirror.example.com/registry', 'https://mirror.example.com/registry/v2/app/blobs/x'],
  )
})

test('a path that the web server leaves there is not routed', () => {
  const publicUrl = 'https://m.example/house/registry'
  for (const [url, routed] of [
    ['/house/registry/v2/app/tags/list?n=1', '/v2/app/tags/list?n=1'],
    ['/house/registry/ghcr.io/v2/', '/ghcr.io/v2/'],
    ['/house/registry', '/'],
    ['/house/registry?x', '/?x'],
    ['/house/registryx/v2/', '/house/registryx/v2/'],
    ['/v2/house/registry/v2/', '/v2/house/registry/v2/'],
    ['/v2/', '/v2/'],
  ] as const) {
    assert.equal(look([], {}, { url }, publicUrl).routed, routed, url)
    const headers = { ...told, 'x-forwarded-prefix': '/house/registry' }
    assert.equal(look(trusted, headers, { url }).routed, url, 'no client gets past the rules of a web server')
  }
})
