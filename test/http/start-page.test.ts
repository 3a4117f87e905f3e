/**
 * What meets who opens the mirror's address. Neighbours that were thought of: browsers, curl, wget and Go by their
 * Accept; `q=0`; HEAD in both forms; a Host that carries markup, quotes, a path, a user, a thousand characters, an IPv6
 * address, none at all (HTTP/1.0); TLS; the mirror called by 127.0.0.1 and by its address; one upstream, several,
 * Docker Hub not the first or not there at all; an upstream that is out of reach; the icon that browsers ask for;
 * writes.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, before, test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { exchange } from '../support/raw-http.ts'
import { until } from '../support/settle.ts'

const html = { accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' }
const nowhere = 'http://127.0.0.1:9'
let mirror: TestMirror
before(async () => {
  mirror = await startMirror({ upstream: nowhere })
})
after(() => mirror[Symbol.asyncDispose]())

test('a browser is greeted with one page that loads, runs and sends nothing', async () => {
  const { status, headers, text } = await pull(`${mirror.url}/`, {
    headers: { ...html, host: 'mirror.lan:5000' },
  })
  assert.deepEqual([status, headers['content-type']], [200, 'text/html; charset=utf-8'])
  assert.match(text, /^<!doctype html>\n<html lang="en">/)
  assert.match(text, /<title>Larder at mirror\.lan:5000<\/title>/)
  assert.match(text, /<h1>Larder works<\/h1>/)
  assert.match(text, /Who may push to it, and delete: the machines of private networks\./)
  assert.match(text, /\{ &quot;registry-mirrors&quot;: \[&quot;http:\/\/mirror\.lan:5000&quot;\] \}/)
  assert.match(text, /docker pull mirror\.lan:5000\/debian:bookworm-slim/)
  for (const path of ['/healthz', '/readyz', '/metrics']) assert.ok(text.includes(`href="${path}"`), path)
  assert.doesNotMatch(
    text,
    /<(?:script|img|link|iframe|form)|\son\w+=|https?:\/\/(?!mirror\.lan|registry-1\.docker\.io)/i,
  )
  assert.ok(text.length < 8000)
  const policy = String(headers['content-security-policy'])
  const style = /<style>(.*)<\/style>/s.exec(text)?.[1] ?? ''
  const hash = createHash('sha256').update(style).digest('base64')
  assert.equal(
    policy,
    `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  )
  assert.deepEqual(
    [headers['cache-control'], headers['x-content-type-options'], headers['referrer-policy'], headers.vary],
    ['no-store', 'nosniff', 'no-referrer', 'accept'],
  )
})

for (const accept of [
  '*/*',
  undefined,
  'application/json',
  'text/plain',
  'text/html;q=0, */*',
  'text/htmlx',
  '',
]) {
  test(`Accept: ${accept}: the same as plain text`, async () => {
    const headers = { host: 'mirror.lan:5000', ...(accept === undefined ? {} : { accept }) }
    const { status, headers: got, text } = await pull(`${mirror.url}/`, { headers })
    assert.deepEqual([status, got['content-type']], [200, 'text/plain; charset=utf-8'])
    assert.match(text, /^Larder works\. /)
    assert.match(text, /^ {4}\{ "registry-mirrors": \["http:\/\/mirror\.lan:5000"\] \}$/m)
    assert.match(text, /^ {4}docker pull mirror\.lan:5000\/debian:bookworm-slim$/m)
    assert.doesNotMatch(text, /<[a-z]/)
  })
}

test('HEAD has the headers of GET', async () => {
  for (const headers of [html, { accept: '*/*' }]) {
    const get = await pull(`${mirror.url}/`, { headers })
    const head = await pull(`${mirror.url}/`, { headers, method: 'HEAD' })
    assert.deepEqual([head.status, head.received], [200, 0])
    for (const name of ['content-type', 'content-length', 'content-security-policy']) {
      assert.equal(head.headers[name], get.headers[name], name)
    }
  }
})

test('a Host that is no host is not shown', async () => {
  const hosts = [
    '<script>alert(1)</script>',
    'a"onclick=alert(1)',
    "a'b",
    'a`b',
    'a&b',
    'user@host',
    'host/path',
    'a b',
    'x'.repeat(1000),
    '[::1]<b>',
    '192.0.2.300',
    'mirror.lan:99999',
  ]
  for (const host of hosts) {
    for (const accept of ['text/html', '*/*']) {
      const answer = await exchange(
        mirror.port,
        `GET / HTTP/1.1\r\nHost: ${host}\r\nAccept: ${accept}\r\nConnection: close\r\n\r\n`,
      )
      if (answer.startsWith('HTTP/1.1 400')) continue
      assert.ok(!answer.includes(host), host)
      assert.match(answer, /docker pull 127\.0\.0\.1:\d+\/debian:bookworm-slim/)
    }
  }
  assert.match(await exchange(mirror.port, 'GET / HTTP/1.0\r\n\r\n'), /docker pull 127\.0\.0\.1:\d+\//)
  assert.match(
    await exchange(mirror.port, 'GET / HTTP/1.1\r\nHost: [fd00::5]:5000\r\nConnection: close\r\n\r\n'),
    /"http:\/\/\[fd00::5\]:5000"/,
  )
})

test('who came by 127.0.0.1 is told that others need another address; over plain HTTP, what Docker wants', async () => {
  const by = async (host: string) => (await pull(`${mirror.url}/`, { headers: { host } })).text
  for (const host of ['127.0.0.1:5000', 'localhost:5000', '[::1]:5000']) {
    assert.match(await by(host), /leads to the machine itself only/, host)
    assert.doesNotMatch(await by(host), /insecure-registries/)
  }
  assert.doesNotMatch(await by('192.168.1.20:5000'), /machine itself only/)
  assert.match(await by('192.168.1.20:5000'), /"insecure-registries": \["192\.168\.1\.20:5000"\]/)
  assert.match(await by('192.168.1.20:5000'), /location = "192\.168\.1\.20:5000"\n {4}insecure = true/)
})

test('what it says fits the upstreams', async () => {
  const cases: [names: string[], shown: RegExp[], hidden: RegExp][] = [
    [
      ['docker.io', 'ghcr.io'],
      [/from docker\.io .*and ghcr\.io/, /pull m\.lan\/debian:/, /pull m\.lan\/ghcr\.io\/OWNER\/NAME/],
      /undefined/,
    ],
    [
      ['ghcr.io', 'docker.io'],
      [
        /pull m\.lan\/docker\.io\/library\/debian:/,
        /"http:\/\/m\.lan\/docker\.io"/,
        /location = "m\.lan\/docker\.io"/,
      ],
      /m\.lan\/debian/,
    ],
    [['quay.io'], [/pull m\.lan\/quay\.io\/OWNER\/NAME/], /registry-mirrors|debian/],
  ]
  for (const [names, shown, hidden] of cases) {
    const upstreams = names.map((name) => ({ name, url: nowhere }))
    await using own = await startMirror({ config: { upstreams } })
    const { text } = await pull(`${own.url}/`, { headers: { host: 'm.lan' } })
    for (const line of shown) assert.match(text, line)
    assert.doesNotMatch(text, hidden)
  }
})

test('an upstream that cannot be reached is told', async () => {
  await using own = await startMirror({ upstream: nowhere })
  await until(async () => {
    await pull(`${own.url}/v2/library/app/manifests/1`)
    return /docker\.io \(which cannot be reached at the moment/.test((await pull(`${own.url}/`)).text)
  })
})

test('an account that is refused is told, and nothing of it', async (t) => {
  const hub = await startDockerHub({ accounts: { ann: 'right' } })
  t.after(() => hub.close())
  const upstreams = [{ name: 'docker.io', url: hub.url, username: 'ann', password: 'wrong-secret' }]
  await using own = await startMirror({ config: { upstreams } })
  await own.app.upstreams[0]?.check()
  const { text } = await pull(`${own.url}/`)
  assert.match(text, /docker\.io \(which refuses the user name and password that are configured for it\)/)
  assert.doesNotMatch(text, /wrong-secret|\bann\b/)
})

test('the icon that browsers ask for is answered without a word in the log', async () => {
  const { status, received } = await pull(`${mirror.url}/favicon.ico`)
  assert.deepEqual([status, received], [204, 0])
  assert.equal((await pull(`${mirror.url}/favicon.ico`, { method: 'HEAD' })).status, 204)
  assert.ok(!mirror.log().includes('favicon'))
  assert.equal((await pull(`${mirror.url}/`, { method: 'POST' })).status, 404)
})
