import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { startLarder } from '../../e2e/support/larder-process.ts'
import { run } from '../../support/child-process.ts'
import { pull } from '../../support/client.ts'
import { buildImage } from '../../support/images.ts'
import { type Certificate, collect, failsWith, listen, selfSigned, transportTo } from '../fixtures.ts'

// The certificates of the system: a house's own authority there is enough, without `ca` and without NODE_EXTRA_CA_CERTS.
// Neighbours: SSL_CERT_FILE and SSL_CERT_DIR; `ca` besides them; a token service and storage with certificates of
// theirs; an authority that is itself signed by another one which nobody has (curl and Go take it); what the message
// says where a certificate is not accepted, in each of its ways.

const image = buildImage({ layers: [1000] })

/** An authority, and a certificate for 127.0.0.1 that it has signed; the authority's own parent is thrown away. */
async function signedByHouse(
  t: TestContext,
): Promise<{ authority: string; leaf: Certificate; folder: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'larder-ca-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const path = (name: string) => join(folder, name)
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '3']
  const make = (name: string, signer: string | undefined, extension: string) =>
    run('openssl', [
      ...['req', '-x509', ...key, '-keyout', path(`${name}.key`), '-out', path(`${name}.pem`)],
      ...['-subj', `/CN=${name}`, '-addext', extension],
      ...(signer === undefined ? [] : ['-CA', path(`${signer}.pem`), '-CAkey', path(`${signer}.key`)]),
    ])
  await make('root', undefined, 'basicConstraints=critical,CA:TRUE')
  await make('house', 'root', 'basicConstraints=critical,CA:TRUE')
  await make('leaf', 'house', 'subjectAltName=IP:127.0.0.1')
  const [authority, keyOfLeaf, cert] = await Promise.all(
    ['house.pem', 'leaf.key', 'leaf.pem'].map((name) => readFile(path(name), 'utf8')),
  )
  return { authority: authority ?? '', leaf: { key: keyOfLeaf ?? '', cert: cert ?? '' }, folder }
}

const house = await selfSigned('IP:127.0.0.1')
const other = await selfSigned('IP:127.0.0.1')

for (const variable of ['SSL_CERT_FILE', 'SSL_CERT_DIR']) {
  test(`${variable} with the authority of the house: a pull needs nothing else, and ca adds to it`, async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'larder-certs-'))
    t.after(() => rm(folder, { recursive: true, force: true }))
    const file = join(folder, 'house.pem')
    await writeFile(file, house.cert)
    const registry = await listen(
      t,
      (_request, response) => {
        response.setHeader('content-type', image.manifest.mediaType).end(image.manifest.bytes)
      },
      { tls: house },
    )
    const environment = { [variable]: variable === 'SSL_CERT_DIR' ? folder : file }
    const otherFile = join(folder, 'other.crt.txt')
    await writeFile(otherFile, other.cert)
    for (const ca of [undefined, otherFile]) {
      const upstream = { name: 'docker.io', url: registry.url, ...(ca === undefined ? {} : { ca }) }
      await using larder = await startLarder({ upstreams: [upstream], environment })
      const pulled = await pull(`${larder.url}/v2/library/app/manifests/latest`)
      assert.deepEqual([pulled.status, pulled.digest], [200, image.manifest.digest])
    }
  })
}

test('an authority whose own authority nobody has is enough, as for curl and Go', async (t) => {
  const { authority, leaf } = await signedByHouse(t)
  const server = await listen(t, (_request, response) => void response.end('ok'), { tls: leaf })
  const transport = transportTo(t, server.url, { ca: authority })
  const response = await transport.request({ method: 'GET', url: new URL(server.url) })
  assert.equal((await collect(response.body())).toString(), 'ok')
})

test('a certificate that nobody trusts: the message says what, and what to do', async (t) => {
  const { leaf } = await signedByHouse(t)
  for (const tls of [house, leaf]) {
    const server = await listen(t, (_request, response) => void response.end('ok'), { tls })
    const request = transportTo(t, server.url, { ca: other.cert }).request({
      method: 'GET',
      url: new URL(server.url),
    })
    await failsWith(request, 'UNREACHABLE', /its certificate is not accepted: .*upstreams\[\]\.ca$/)
    assert.equal(server.requests.length, 0)
  }
})

test('a certificate for another name: the message says so', async (t) => {
  const elsewhere = await selfSigned('DNS:elsewhere.test')
  const server = await listen(t, (_request, response) => void response.end('ok'), { tls: elsewhere })
  const transport = transportTo(t, server.url, { ca: elsewhere.cert })
  const request = transport.request({ method: 'GET', url: new URL(server.url) })
  await failsWith(
    request,
    'UNREACHABLE',
    /its certificate is not accepted: .*127\.0\.0\.1.*ERR_TLS_CERT_ALTNAME_INVALID/,
  )
})
