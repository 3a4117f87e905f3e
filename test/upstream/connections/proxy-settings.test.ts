import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ProxySettings } from '../../../src/upstream/connections/proxy-settings.ts'
import { startMirror } from '../../support/mirror.ts'

// Neighbours of NO_PROXY: networks and addresses of both families, mapped ones, with and without brackets and ports; names
// with a dot before, a dot after, a star, capitals, other letters; parts of names and of addresses, which match
// nothing; commas, spaces, new lines; the empty list; names that lead to an address of the list, which nobody asks for.
// Of HTTP_PROXY and the others: both cases, both set, one empty; no scheme, other schemes, logins with special
// characters, what cannot be read.

const proxy = 'http://proxy.lan:3128'

function isExempt(list: string, url: string): boolean {
  const environment = { HTTP_PROXY: proxy, HTTPS_PROXY: proxy, NO_PROXY: list }
  return ProxySettings.fromEnvironment(environment).proxyFor(new URL(url)) === undefined
}

const exempt: readonly (readonly [list: string, url: string])[] = [
  ['*', 'https://registry.test/'],
  ['other.test,*', 'https://registry.test/'],
  ['10.0.0.0/8', 'http://10.1.2.3:5000/'],
  ['10.0.0.0/8,127.0.0.0/8', 'http://127.0.0.1:5000/'],
  ['10.9.9.9/8', 'http://10.1.2.3/'],
  ['0.0.0.0/0', 'http://8.8.8.8/'],
  ['10.1.2.3/32', 'http://10.1.2.3/'],
  ['10.0.0.0/8', 'http://[::ffff:10.1.2.3]/'],
  ['::ffff:10.0.0.0/104', 'http://10.1.2.3/'],
  ['fd00::/8', 'http://[fd12:3456::1]:5000/'],
  ['[fd00::]/8', 'http://[fd12:3456::1]/'],
  ['192.168.1.7', 'https://192.168.1.7:8443/'],
  ['192.168.1.7:8443', 'https://192.168.1.7:8443/'],
  ['::1', 'http://[::1]:5000/'],
  ['[::1]', 'http://[::1]:5000/'],
  ['[::1]:5000', 'http://[::1]:5000/'],
  ['0:0:0:0:0:0:0:1', 'http://[::1]/'],
  ['FD00::A', 'http://[fd00::a]/'],
  ['registry.test', 'https://registry.test/'],
  ['registry.test', 'https://eu.registry.test/'],
  ['.registry.test', 'https://eu.registry.test/'],
  ['.registry.test', 'https://registry.test/'],
  ['*.registry.test', 'https://eu.registry.test/'],
  ['*.registry.test', 'https://a.eu.registry.test/'],
  ['Registry.TEST', 'https://registry.test/'],
  ['registry.test', 'https://REGISTRY.test/'],
  ['registry.test.', 'https://registry.test/'],
  ['registry.test', 'https://registry.test./'],
  ['registry.test:443', 'https://registry.test/'],
  ['registry.test:80', 'http://registry.test/'],
  ['registry.test:5000', 'http://eu.registry.test:5000/'],
  ['*.registry.test:5000', 'http://eu.registry.test:5000/'],
  ['localhost', 'http://localhost:5000/'],
  ['a.test, registry.test', 'https://registry.test/'],
  ['a.test registry.test', 'https://registry.test/'],
  ['a.test,\n\tregistry.test,,', 'https://registry.test/'],
  ['bücher.test', 'https://bücher.test/'],
  ['xn--bcher-kva.test', 'https://bücher.test/'],
  ['_srv.test', 'https://_srv.test/'],
]

for (const [list, url] of exempt) {
  test(`NO_PROXY=${JSON.stringify(list)} exempts ${url}`, () => assert.equal(isExempt(list, url), true))
}

const proxied: readonly (readonly [list: string, url: string])[] = [
  ['', 'http://127.0.0.1:5000/'],
  ['', 'http://localhost:5000/'],
  ['', 'http://[::1]:5000/'],
  ['10.0.0.0/8', 'http://11.0.0.1/'],
  ['10.0.0.0/8', 'https://registry.test/'],
  ['10.1.2.3/32', 'http://10.1.2.4/'],
  ['fd00::/8', 'http://10.0.0.1/'],
  ['::/0', 'http://10.0.0.1/'],
  ['0.0.0.0/0', 'http://[fd00::1]/'],
  ['192.168.1.7:8443', 'https://192.168.1.7/'],
  ['192.168.1.7', 'https://192.168.1.70/'],
  ['[::1]:5000', 'http://[::1]:5001/'],
  ['registry.test', 'https://myregistry.test/'],
  ['registry.test', 'https://registry.test.example/'],
  ['eu.registry.test', 'https://registry.test/'],
  ['*.registry.test', 'https://registry.test/'],
  ['registry.test:443', 'http://registry.test/'],
  ['registry.test:443', 'https://registry.test:8443/'],
  ['test', 'https://registrytest/'],
  ['7.test', 'https://17.test/'],
]

for (const [list, url] of proxied) {
  test(`NO_PROXY=${JSON.stringify(list)} sends ${url} through the proxy`, () =>
    assert.equal(isExempt(list, url), false))
}

for (const entry of [
  '10.0.0.0/33',
  '10/8',
  '192.168.',
  '192.168.1.*',
  '10.0.0.1-10.0.0.9',
  'http://a.test',
  ':8080',
  'a;b',
  '/',
  'fd00::/129',
]) {
  test(`NO_PROXY=${entry} exempts nothing, and that is said`, () => {
    const settings = ProxySettings.fromEnvironment({ HTTP_PROXY: proxy, NO_PROXY: `${entry},fine.test` })
    assert.equal(settings.warnings.length, 1)
    assert.match(settings.warnings[0] ?? '', /^NO_PROXY has ".*", which exempts nothing: expected /)
    assert.ok(settings.warnings[0]?.includes(JSON.stringify(entry)))
    assert.equal(settings.proxyFor(new URL('http://fine.test/')), undefined)
  })
}

test('without a proxy nobody is told about NO_PROXY', () => {
  assert.deepEqual(ProxySettings.fromEnvironment({ NO_PROXY: '192.168.' }).warnings, [])
})

type Chosen = readonly [environment: NodeJS.ProcessEnv, http: string | undefined, https: string | undefined]

const chosen: readonly Chosen[] = [
  [{}, undefined, undefined],
  [{ HTTP_PROXY: 'http://a.lan:1' }, 'a.lan:1', undefined],
  [{ HTTPS_PROXY: 'http://a.lan:1' }, undefined, 'a.lan:1'],
  [{ http_proxy: 'http://a.lan:1', HTTP_PROXY: 'http://b.lan:1' }, 'a.lan:1', undefined],
  [{ https_proxy: '', HTTPS_PROXY: 'http://b.lan:1' }, undefined, 'b.lan:1'],
  [{ HTTP_PROXY: '' }, undefined, undefined],
  [{ HTTP_PROXY: '  ' }, undefined, undefined],
  [{ ALL_PROXY: 'http://a.lan:1' }, 'a.lan:1', 'a.lan:1'],
  [{ all_proxy: 'http://a.lan:1', HTTPS_PROXY: 'http://b.lan:1' }, 'a.lan:1', 'b.lan:1'],
  [{ HTTP_PROXY: 'a.lan:3128' }, 'a.lan:3128', undefined],
  [{ HTTP_PROXY: 'a.lan' }, 'a.lan:80', undefined],
  [{ HTTP_PROXY: 'http://a.lan' }, 'a.lan:80', undefined],
  [{ HTTP_PROXY: 'https://a.lan' }, 'a.lan:443', undefined],
  [{ HTTP_PROXY: 'HTTP://A.lan:1/' }, 'a.lan:1', undefined],
  [{ HTTP_PROXY: ' http://a.lan:1 ' }, 'a.lan:1', undefined],
  [{ HTTP_PROXY: '10.0.0.1:3128' }, '10.0.0.1:3128', undefined],
  [{ HTTP_PROXY: '[fd00::1]:3128' }, '[fd00::1]:3128', undefined],
  [{ HTTP_PROXY: 'ann:secret@a.lan:1' }, 'a.lan:1', undefined],
]

for (const [environment, forHttp, forHttps] of chosen) {
  test(`${JSON.stringify(environment)}: ${forHttp ?? 'none'} for http, ${forHttps ?? 'none'} for https`, () => {
    const settings = ProxySettings.fromEnvironment(environment)
    assert.equal(settings.proxyFor(new URL('http://registry.test/'))?.label, forHttp)
    assert.equal(settings.proxyFor(new URL('https://registry.test/'))?.label, forHttps)
    assert.deepEqual(settings.warnings, [])
  })
}

for (const [login, plain] of [
  ['ann:secret', 'ann:secret'],
  ['ann:p%40ss%3Aw%23rd%2F', 'ann:p@ss:w#rd/'],
  ['ann:100%', 'ann:100%'],
  ['ann:p@ss', 'ann:p@ss'],
  ['ann', 'ann:'],
  ['b%C3%BCcher:gr%C3%BCn', 'bücher:grün'],
] as const) {
  test(`the login ${login} of a proxy is ${plain}`, () => {
    const settings = ProxySettings.fromEnvironment({ HTTP_PROXY: `http://${login}@proxy.lan:3128` })
    const found = settings.proxyFor(new URL('http://registry.test/'))
    assert.equal(found?.label, 'proxy.lan:3128')
    assert.equal(found?.authorization, `Basic ${Buffer.from(plain).toString('base64')}`)
  })
}

const unusable: readonly (readonly [value: string, why: RegExp])[] = [
  [
    'socks5://127.0.0.1:1080',
    /^HTTPS_PROXY names a proxy of the kind socks5:\/\/, which this program cannot use/,
  ],
  ['socks5h://ann:secret@127.0.0.1:1080', /socks5h/],
  ['ftp://proxy.lan', /ftp/],
  ['http://', /^HTTPS_PROXY cannot be read as http:\/\/host:port/],
  ['http://ann:sec#ret@proxy.lan:3128', /cannot be read.*%XX/],
  ['http://ann:12#secret@proxy.lan:3128', /cannot be read/],
  ['http://ann:12/secret@proxy.lan:3128', /cannot be read/],
  ['http://proxy.lan:99999', /cannot be read/],
  ['http:proxy.lan:3128', /cannot be read/],
  ['none at all', /cannot be read/],
]

for (const [value, why] of unusable) {
  test(`HTTPS_PROXY=${value} is named at the start, without its password`, () => {
    const settings = ProxySettings.fromEnvironment({ HTTPS_PROXY: value })
    assert.equal(settings.warnings.length, 1)
    assert.match(settings.warnings[0] ?? '', why)
    assert.match(settings.warnings[0] ?? '', /: upstreams at https:\/\/ are reached without a proxy$/)
    assert.doesNotMatch(settings.warnings[0] ?? '', /secret/)
    assert.equal(settings.proxyFor(new URL('https://registry.test/')), undefined)
  })
}

test('a proxy of all that cannot be used is named only where it would have been used', () => {
  const all = { ALL_PROXY: 'socks5://127.0.0.1:1080' }
  assert.equal(ProxySettings.fromEnvironment(all).warnings.length, 2)
  const both = { ...all, HTTP_PROXY: proxy, HTTPS_PROXY: proxy }
  assert.deepEqual(ProxySettings.fromEnvironment(both).warnings, [])
})

test('a proxy of one upstream is used for every host', () => {
  const settings = ProxySettings.fixed('http://ann:secret@proxy.lan:3128')
  assert.equal(settings.proxyFor(new URL('http://127.0.0.1/'))?.label, 'proxy.lan:3128')
  assert.deepEqual(settings.hosts, ['proxy.lan', 'proxy.lan'])
  assert.throws(() => ProxySettings.fixed('socks5://a'), /socks5/)
})

test('what cannot be used is a warning in the log at the start', async () => {
  const environment = { HTTPS_PROXY: 'socks5://ann:secret@127.0.0.1:1080' }
  await using mirror = await startMirror({ upstream: 'http://127.0.0.1:9', environment })
  assert.match(mirror.log(), /HTTPS_PROXY names a proxy of the kind socks5/)
  assert.doesNotMatch(mirror.log(), /secret/)
})
