import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { ChildServer } from './child-process.ts'
import { meets } from './programs.ts'
import { startTokenService, type TokenService } from './token-service.ts'

const options = { issuer: 'larder-test', service: 'registry', accounts: { ann: 'secret' } }

/** Starts Debian's docker-registry, trusting a token service, and returns its URL. */
async function startRegistry(t: TestContext, tokens: TokenService): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'larder-registry-'))
  const certificate = join(folder, 'certificate.pem')
  await writeFile(certificate, await tokens.certificatePem())
  const { issuer, service } = options
  const config = {
    version: 0.1,
    storage: { filesystem: { rootdirectory: join(folder, 'data') } },
    http: { addr: '127.0.0.1:0' },
    auth: { token: { realm: tokens.url, service, issuer, rootcertbundle: certificate } },
  }
  // JSON is YAML.
  await writeFile(join(folder, 'config.yml'), JSON.stringify(config))
  const server = ChildServer.start('docker-registry', ['serve', join(folder, 'config.yml')])
  t.after(async () => {
    await server.end('SIGKILL')
    await rm(folder, { recursive: true, force: true })
  })
  const listening = /listening on (127\.0\.0\.1:\d+)/
  await server.ready(() => listening.test(server.stderr), 'listens')
  return `http://${listening.exec(server.stderr)?.[1]}`
}

async function fetchToken(tokens: TokenService, scope: string, login?: string): Promise<string> {
  const headers = login ? { authorization: `Basic ${btoa(login)}` } : {}
  const response = await fetch(`${tokens.url}?service=registry&scope=${encodeURIComponent(scope)}`, {
    headers,
  })
  assert.equal(response.status, 200)
  return ((await response.json()) as { token: string }).token
}

test('a token names its issuer, audience, account and access', async () => {
  await using tokens = await startTokenService({ ...options, expiresInSeconds: 60 })
  const token = await fetchToken(tokens, 'repository:host:5000/a/b:pull,push', 'ann:secret')
  const [header, claims] = token
    .split('.', 2)
    .map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()))
  assert.equal(header.alg, 'ES256')
  assert.match(header.kid, /^(?:[A-Z2-7]{4}:){11}[A-Z2-7]{4}$/)
  assert.deepEqual([claims.iss, claims.aud, claims.sub], ['larder-test', 'registry', 'ann'])
  assert.equal(claims.exp - claims.iat, 60)
  assert.deepEqual(claims.access, [{ type: 'repository', name: 'host:5000/a/b', actions: ['pull', 'push'] }])
  assert.equal(tokens.issued, 1)

  const refused = await fetch(tokens.url, { headers: { authorization: `Basic ${btoa('ann:wrong')}` } })
  assert.equal(refused.status, 401)
  assert.equal(tokens.issued, 1)
})

test('docker-registry accepts the tokens, and only for what they grant', async (t) => {
  if (!meets(t, { programs: ['docker-registry'] })) return
  await using tokens = await startTokenService(options)
  const registry = await startRegistry(t, tokens)
  const challenge = (await fetch(`${registry}/v2/`)).headers.get('www-authenticate')
  assert.equal(challenge, `Bearer realm="${tokens.url}",service="registry"`)

  const bearer = async (scope: string) => ({ authorization: `Bearer ${await fetchToken(tokens, scope)}` })
  const reader = await bearer('repository:a/b:pull')
  const writer = await bearer('repository:a/b:pull,push')
  assert.equal((await fetch(`${registry}/v2/`, { headers: reader })).status, 200)
  const uploads = `${registry}/v2/a/b/blobs/uploads/`
  assert.equal((await fetch(uploads, { method: 'POST', headers: reader })).status, 401)
  const upload = await fetch(uploads, { method: 'POST', headers: writer })
  assert.equal(upload.status, 202)
  const body = new Uint8Array([1, 2, 3])
  const location = new URL(upload.headers.get('location') ?? '', registry)
  location.searchParams.set('digest', digestOf(body))
  assert.equal((await fetch(location, { method: 'PUT', headers: writer, body })).status, 201)
  const blob = await fetch(`${registry}/v2/a/b/blobs/${digestOf(body)}`, { headers: reader })
  assert.deepEqual(await blob.bytes(), body)
  const elsewhere = await fetch(`${registry}/v2/a/c/blobs/${digestOf(body)}`, { headers: reader })
  assert.equal(elsewhere.status, 401)
})
