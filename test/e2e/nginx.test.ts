// nginx in front of the mirror, with TLS there, as docs/operating.md says: what is written there is what is started.
// Clients push and pull through it, large blobs among it; links lead through it; the mirror knows who asks.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import type { IncomingHttpHeaders } from 'node:http'
import https from 'node:https'
import { join } from 'node:path'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { run } from '../support/child-process.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { freePort } from '../support/free-port.ts'
import { blobOf, buildImage, pseudoRandomBytes, type TestBlob } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { meets } from '../support/programs.ts'
import { until } from '../support/settle.ts'
import { containerdPrograms, startContainerd } from './support/containerd.ts'
import { dockerPrograms, startDockerDaemon } from './support/docker-daemon.ts'
import { type LarderProcess, startLarder } from './support/larder-process.ts'
import { htpasswdFile } from './support/logins.ts'
import { startNoInternet } from './support/no-internet.ts'
import { registryPrograms, startRegistry } from './support/registry-process.ts'
import { helloImage, largeImage } from './support/sample-images.ts'
import { scratchFolder } from './support/scratch-folder.ts'
import { settingsOfPage, startWebServer, type WebServer, webServerPrograms } from './support/web-server.ts'

const upstreams = [{ name: 'docker.io', url: 'http://127.0.0.1:9' }]
const image = buildImage({ seed: 'nginx', layers: [5000] })
const alice = { user: 'alice', password: 'correct horse' }

type Asked = { method?: string; headers?: Record<string, string>; body?: Uint8Array; localAddress?: string }
type Answer = { status: number; headers: IncomingHttpHeaders; body: Buffer; url: string }

/** Asks by a connection of its own, as a client that trusts the web server's certificate. */
async function ask({ certificate: ca }: WebServer, url: string, asked: Asked = {}): Promise<Answer> {
  const { method = 'GET', headers = {}, body, localAddress } = asked
  const request = https.request(url, { method, headers, ca, localAddress, agent: false })
  // Once it is answered, what becomes of the connection shows in the body of the answer, or is nothing to whoever asked.
  request.on('error', () => {})
  const answered = once(request, 'response', { signal: AbortSignal.timeout(60_000) })
  request.end(body)
  const [response] = await answered
  const pieces: Buffer[] = []
  for await (const piece of response) pieces.push(piece)
  return { status: response.statusCode, headers: response.headers, body: Buffer.concat(pieces), url }
}

function locationOf({ headers, url, status, body }: Answer): string {
  assert.ok(status < 300, `${status} ${body}`)
  return new URL(headers.location ?? assert.fail('no Location'), url).href
}

/** Pushes a blob in two pieces, by what each answer says, and pulls it again by the last one. */
async function pushBlob(server: WebServer, repository: string, { digest, bytes }: TestBlob): Promise<void> {
  let url = locationOf(await ask(server, `${repository}/blobs/uploads/`, { method: 'POST' }))
  const half = Math.ceil(bytes.length / 2)
  for (const [start, end] of [
    [0, half],
    [half, bytes.length],
  ] as const) {
    const headers = { 'content-range': `${start}-${end - 1}` }
    url = locationOf(await ask(server, url, { method: 'PATCH', headers, body: bytes.subarray(start, end) }))
  }
  const stored = locationOf(await ask(server, `${url}?digest=${digest}`, { method: 'PUT' }))
  const { status, body } = await ask(server, stored)
  assert.deepEqual([status, digestOf(body)], [200, digest])
}

async function pushImage(server: WebServer, repository: string, tag: string): Promise<void> {
  for (const blob of [image.config, ...image.layers]) await pushBlob(server, repository, blob)
  const { bytes: body, mediaType, digest } = image.manifest
  const headers = { 'content-type': mediaType }
  const put = await ask(server, `${repository}/manifests/${tag}`, { method: 'PUT', headers, body })
  const { body: again } = await ask(server, locationOf(put))
  assert.equal(digestOf(again), digest)
}

/** All tags, page by page, by the links. */
async function listTags(server: WebServer, repository: string): Promise<string[]> {
  const tags: string[] = []
  for (let url: string | undefined = `${repository}/tags/list?n=2`; url !== undefined; ) {
    const { headers, body, status } = await ask(server, url)
    assert.equal(status, 200, url)
    tags.push(...JSON.parse(body.toString()).tags)
    const next: string | undefined = /^<(.*)>; rel="next"$/.exec(String(headers.link))?.[1]
    url = next && new URL(next, url).href
  }
  return tags
}

function clientsOf(larder: LarderProcess): Set<unknown> {
  return new Set(larder.requests().map((line) => (line as { client?: string }).client))
}

const ways = {
  'as the page has it': {},
  'that buffers what comes and what goes': {
    edit: (config: string) => config.replaceAll(/^.*(?:proxy_request_buffering|proxy_buffering).*\n/gm, ''),
  },
  'by a Unix socket': { socket: true },
  'that speaks HTTP/1.0 to the mirror': {
    edit: (config: string) =>
      config.replaceAll(/^.*(?:proxy_http_version|proxy_request_buffering|Connection).*\n/gm, ''),
  },
} satisfies Record<string, { edit?: (config: string) => string; socket?: boolean }>

for (const [what, way] of Object.entries(ways)) {
  test(`nginx ${what}: 100 MB are pushed and pulled, and links lead through it`, {
    timeout: 120_000,
  }, async (t) => {
    if (!meets(t, { programs: webServerPrograms })) return
    await using scratch = await scratchFolder()
    const socket = 'socket' in way ? join(scratch.path, 'larder.sock') : undefined
    const environment = socket
      ? {
          MIRROR_SERVER_LISTEN: JSON.stringify(['127.0.0.1:0', `unix:${socket}`]),
          MIRROR_SERVER_TRUSTPROXY: '["unix"]',
        }
      : settingsOfPage()
    await using larder = await startLarder({ upstreams, environment })
    const behind = socket ? `http://unix:${socket}:` : larder.url
    await using server = await startWebServer({ behind, ...('edit' in way && { edit: way.edit }) })
    const repository = `https://${server.host}/v2/app`
    await pushBlob(server, repository, blobOf(pseudoRandomBytes(100_000_000, 'large')))
    for (const tag of ['v1', 'v2', 'v3']) await pushImage(server, repository, tag)
    assert.deepEqual(await listTags(server, repository), ['v1', 'v2', 'v3'])
    await ask(server, `https://${server.host}/v2/`, { localAddress: '127.0.0.9' })
    await until(() => clientsOf(larder).has('127.0.0.9'))
    assert.deepEqual(clientsOf(larder), new Set(['127.0.0.1', '127.0.0.9']))
  })
}

for (const [what, { edit, publicUrl }] of Object.entries({
  'that takes it off': {},
  'that leaves it there': {
    edit: (config: string) => config.replace(/(proxy_pass [^;]*)\/;/, '$1;'),
    publicUrl: true,
  },
}) as [string, { edit?: (config: string) => string; publicUrl?: boolean }][]) {
  test(`nginx with a path, ${what}`, { timeout: 60_000 }, async (t) => {
    if (!meets(t, { programs: webServerPrograms })) return
    const port = await freePort()
    const url = `https://127.0.0.1:${port}/registry`
    await using larder = await startLarder({
      upstreams,
      environment: { ...settingsOfPage(), ...(publicUrl && { MIRROR_SERVER_PUBLICURL: url }) },
    })
    await using server = await startWebServer({
      behind: larder.url,
      port,
      way: 'path',
      ...(edit && { edit }),
    })
    for (const tag of ['v1', 'v2', 'v3']) await pushImage(server, `${url}/v2/app`, tag)
    assert.deepEqual(await listTags(server, `${url}/v2/app`), ['v1', 'v2', 'v3'])
    const { body } = await ask(server, `${url}/`)
    assert.match(body.toString(), new RegExp(`"registry-mirrors": \\["${url}"\\]`))
    assert.equal((await ask(server, `${url}/healthz`)).status, 200)
    assert.equal((await ask(server, `https://${server.host}/v2/`)).status, 404, 'only below the path')
  })
}

test('containerd pulls through nginx below a path', { timeout: 60_000 }, async (t) => {
  if (!meets(t, { programs: [...webServerPrograms, ...containerdPrograms, 'busybox'], root: true })) return
  await using hub = await startDockerHub()
  const hello = helloImage()
  hub.addImage('library/hello', 'v1', hello)
  const upstreams = [{ name: 'docker.io', url: hub.url }]
  await using larder = await startLarder({ upstreams, environment: settingsOfPage() })
  await using server = await startWebServer({ behind: larder.url, way: 'path' })
  const path = '/etc/containerd/certs.d/docker.io/hosts.toml'
  const hosts = `server = "https://127.0.0.1:9"\n[host."https://${server.host}/registry"]\n  capabilities = ["pull", "resolve"]\n  ca = "${server.certificatePath}"\n`
  await using internet = await startNoInternet()
  await using containerd = await startContainerd({ files: { [path]: hosts }, internet })
  await containerd.pull('docker.io/library/hello:v1')
  assert.equal(await containerd.digest('docker.io/library/hello:v1'), hello.manifest.digest)
})

test('whatever a client claims, the mirror hears what nginx saw', { timeout: 60_000 }, async (t) => {
  if (!meets(t, { programs: webServerPrograms })) return
  await using larder = await startLarder({ upstreams, environment: settingsOfPage() })
  await using server = await startWebServer({ behind: larder.url })
  const headers = {
    'x-forwarded-for': '203.0.113.7',
    'x-forwarded-host': 'evil.example',
    'x-forwarded-proto': 'http',
    'x-forwarded-port': '81',
    'x-forwarded-prefix': '/evil',
    forwarded: 'for=203.0.113.7;host=evil.example',
  }
  const begun = await ask(server, `https://${server.host}/v2/app/blobs/uploads/`, { method: 'POST', headers })
  assert.match(begun.headers.location ?? '', /^\/v2\/app\/blobs\/uploads\//)
  const page = (await ask(server, `https://${server.host}/`, { headers })).body.toString()
  assert.match(page, new RegExp(`"registry-mirrors": \\["https://${server.host}"\\]`))
  assert.deepEqual(clientsOf(larder), new Set(['127.0.0.1']))
})

test('nobody pushes through a web server that is not named, or as this machine', {
  timeout: 60_000,
}, async (t) => {
  if (!meets(t, { programs: webServerPrograms })) return
  const bare = (config: string) => config.replaceAll(/^.*(?:proxy_set_header|proxy_http_version).*\n/gm, '')
  const named = { 'server.trustProxy': ['127.0.0.1'] }
  for (const [config, edit, reason] of [
    [{}, undefined, /server\.trustProxy/],
    [{}, bare, /server\.trustProxy/],
    [named, bare, /server\.trustProxy.*X-Forwarded-For/],
    [{ ...named, 'local.push': 'this-machine' }, undefined, /only the machine/],
    [{ 'local.push': 'this-machine' }, bare, /server\.trustProxy/],
  ] as const) {
    await using mirror = await startMirror({ upstream: 'http://127.0.0.1:9', config })
    await using server = await startWebServer({ behind: mirror.url, ...(edit && { edit }) })
    const url = `https://${server.host}/v2/app/blobs/uploads/`
    const { status, body } = await ask(server, url, { method: 'POST' })
    assert.equal(status, 403, JSON.stringify(config))
    assert.match(JSON.parse(body.toString()).errors[0].message, reason)
  }
})

test('crane, skopeo and docker push and pull through nginx', { timeout: 180_000 }, async (t) => {
  const programs = [
    ...webServerPrograms,
    ...registryPrograms,
    ...dockerPrograms,
    'crane',
    'skopeo',
    'busybox',
  ] as const
  if (!meets(t, { programs, root: true })) return
  await using registry = await startRegistry({ auth: 'none' })
  const large = largeImage().image
  const layers = [pseudoRandomBytes(100_000_000, 'large layer')]
  const larger = buildImage({ layers, seed: 'larger' })
  await registry.push('library/large', 'v1', large)
  await registry.push('library/larger', 'v1', larger)
  await using larder = await startLarder({
    upstreams: [{ name: 'docker.io', url: registry.url }],
    environment: settingsOfPage(),
  })
  await using server = await startWebServer({ behind: larder.url })
  await using internet = await startNoInternet()
  await using scratch = await scratchFolder()
  const environment = { HOME: scratch.path, SSL_CERT_FILE: server.certificatePath, ...internet.environment }
  const from = new URL(registry.url).host

  await t.test('crane: a layer of 100 MB', async () => {
    await run('crane', ['copy', `${from}/library/larger:v1`, `${server.host}/crane:v1`], { environment })
    const layout = join(scratch.path, 'layout')
    await run('crane', ['pull', '--format', 'oci', `${server.host}/crane:v1`, layout], { environment })
    for (const { digest } of [larger.manifest, larger.config, ...larger.layers]) {
      assert.equal(digestOf(await readFile(join(layout, 'blobs', digest.replace(':', '/')))), digest)
    }
  })

  await t.test('skopeo', async () => {
    const here = `docker://${server.host}/skopeo:v1`
    const source = ['--src-tls-verify=false', `docker://${from}/library/large:v1`]
    await run('skopeo', ['copy', ...source, here], { environment })
    await run('skopeo', ['copy', here, `dir:${join(scratch.path, 'dir')}`], { environment })
    const inspected = await run('skopeo', ['inspect', '--format', '{{.Digest}}', here], { environment })
    assert.equal(inspected.trim(), large.manifest.digest)
  })

  await t.test('docker', async () => {
    await using daemon = await startDockerDaemon({ files: {} })
    await daemon.docker('pull', `${server.host}/library/large:v1`)
    await daemon.docker('tag', `${server.host}/library/large:v1`, `${server.host}/docker:v1`)
    const [, pushed] =
      /digest: (\S+) size/.exec(await daemon.docker('push', `${server.host}/docker:v1`)) ?? []
    await daemon.docker('rmi', '--force', `${server.host}/library/large:v1`, `${server.host}/docker:v1`)
    const [, pulled] = /^Digest: (\S+)$/m.exec(await daemon.docker('pull', `${server.host}/docker:v1`)) ?? []
    assert.ok(pushed)
    assert.equal(pulled, pushed)
    assert.deepEqual(daemon.attempts, [])
  })
  assert.deepEqual(internet.attempts, [])
})

for (const way of ['host', 'path'] as const) {
  test(`users log in through nginx (${way}): the address of the token service is the one that they used`, {
    timeout: 60_000,
  }, async (t) => {
    if (!meets(t, { programs: [...webServerPrograms, 'htpasswd'] })) return
    await using scratch = await scratchFolder()
    const users = join(scratch.path, 'users')
    await writeFile(users, await htpasswdFile([alice]))
    const environment = { ...settingsOfPage(), MIRROR_AUTH_HTPASSWD: users }
    await using larder = await startLarder({ upstreams, environment })
    await using server = await startWebServer({ behind: larder.url, way })
    const base = `https://${server.host}${way === 'path' ? '/registry' : ''}`
    const uploads = `${base}/v2/app/blobs/uploads/`
    for (const [method, url] of [
      ['GET', `${base}/v2/`],
      ['POST', uploads],
    ] as const) {
      const { status, headers } = await ask(server, url, { method })
      const [, realm] = /^Bearer realm="([^"]*)"/.exec(String(headers['www-authenticate'])) ?? []
      assert.deepEqual([status, realm], [401, `${base}/token`], url)
    }
    const tokenOf = async (password: string) => {
      const basic = Buffer.from(`${alice.user}:${password}`).toString('base64')
      const url = `${base}/token?service=larder&scope=repository:app:pull,push`
      return ask(server, url, { headers: { authorization: `Basic ${basic}` } })
    }
    assert.equal((await tokenOf('wrong')).status, 401)
    const { token } = JSON.parse((await tokenOf(alice.password)).body.toString())
    const begun = await ask(server, uploads, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
    })
    assert.ok(locationOf(begun).startsWith(uploads))
  })
}

test('crane and docker log in and push through nginx', { timeout: 120_000 }, async (t) => {
  const programs = [...webServerPrograms, ...dockerPrograms, 'crane', 'busybox', 'htpasswd'] as const
  if (!meets(t, { programs, root: true })) return
  await using scratch = await scratchFolder()
  const users = join(scratch.path, 'users')
  await writeFile(users, await htpasswdFile([alice]))
  await using hub = await startDockerHub()
  hub.addImage('library/hello', 'v1', helloImage())
  const environment = { ...settingsOfPage(), MIRROR_AUTH_HTPASSWD: users }
  await using larder = await startLarder({ upstreams: [{ name: 'docker.io', url: hub.url }], environment })
  await using server = await startWebServer({ behind: larder.url })
  const login = [server.host, '--username', alice.user, '--password', alice.password]
  const own = { HOME: scratch.path, SSL_CERT_FILE: server.certificatePath }
  const from = `${server.host}/library/hello:v1`
  const crane = (...parameters: string[]) => run('crane', parameters, { environment: own })
  await assert.rejects(crane('copy', from, `${server.host}/crane:v1`), /UNAUTHORIZED/)
  await crane('auth', 'login', ...login)
  await crane('copy', from, `${server.host}/crane:v1`)

  await using daemon = await startDockerDaemon({ files: {} })
  const { docker, tryDocker } = daemon
  assert.equal((await tryDocker('login', ...login.slice(0, -1), 'wrong')).code, 1)
  await docker('pull', from)
  await docker('tag', from, `${server.host}/docker:v1`)
  assert.equal((await tryDocker('push', `${server.host}/docker:v1`)).code, 1)
  await docker('login', ...login)
  await docker('push', `${server.host}/docker:v1`)
})
