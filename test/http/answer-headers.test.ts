/**
 * What a browser could make of an answer, and where a header is set. Thought of: manifests that say they are a web page, a
 * picture, a document of XML, or nothing; mirrored and pushed, by GET and HEAD; types of artifacts that have to stay;
 * blobs, lists, errors of each kind and pages.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { glob } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { blobOf, buildImage } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { send } from '../support/push.ts'

const root = join(import.meta.dirname, '../..')

function manifestOf(mediaType: string) {
  const { config, layers } = JSON.parse(Buffer.from(buildImage().manifest.bytes).toString())
  const html = '<script>alert(1)</script>'
  const text = JSON.stringify({ schemaVersion: 2, mediaType, config, layers, annotations: { html } })
  return blobOf(Buffer.from(text), mediaType)
}

for (const [mediaType, contentType] of [
  ['text/html', 'application/octet-stream'],
  ['image/svg+xml', 'application/octet-stream'],
  ['application/xhtml+xml', 'application/octet-stream'],
  ['application/vnd.mozilla.xul+xml', 'application/octet-stream'],
  ['application/json', 'application/json'],
  ['application/vnd.oci.artifact.manifest.v1+json', 'application/vnd.oci.artifact.manifest.v1+json'],
  ['application/vnd.oci.image.manifest.v1+json', 'application/vnd.oci.image.manifest.v1+json'],
] as const) {
  test(`a manifest that says it is ${mediaType} is sent as ${contentType}`, async () => {
    await using hub = await startDockerHub()
    await using mirror = await startMirror({ upstream: hub.url })
    const manifest = manifestOf(mediaType)
    hub.addManifest('library/app', manifest, 'latest')
    for (const reference of ['latest', manifest.digest]) {
      for (const method of ['GET', 'HEAD']) {
        const url = `${mirror.url}/v2/library/app/manifests/${reference}`
        const { status, headers } = await pull(url, { method })
        assert.deepEqual([status, headers['content-type']], [200, contentType], `${method} ${reference}`)
      }
    }
  })
}

test('whatever is answered, no browser guesses what it is, nor runs anything of it', async () => {
  await using hub = await startDockerHub()
  await using mirror = await startMirror({ upstream: hub.url })
  const image = buildImage()
  hub.addImage('library/app', 'latest', image)
  const of = '/v2/library/app'
  for (const path of [
    '/v2/',
    `${of}/manifests/latest`,
    `${of}/blobs/${image.config.digest}`,
    `${of}/tags/list`,
    `${of}/referrers/${image.manifest.digest}`,
    `${of}/manifests/nothing`,
    '/v2/%zz',
    '/v2x',
    '/nothing/v2/',
    '/healthz',
    '/metrics',
    '/',
  ]) {
    for (const method of ['GET', 'HEAD', 'DELETE']) {
      const { headers } = await send(method, mirror.url + path)
      assert.equal(headers['x-content-type-options'], 'nosniff', `${method} ${path}`)
      assert.equal(headers['content-security-policy'], "default-src 'none'; sandbox", `${method} ${path}`)
    }
  }
})

test('docs/architecture.md says of each header that no route sets for itself where it is set', async () => {
  const places = new Map<string, string[]>()
  const setting =
    /\.header\(\s*'([a-z-]+)'|^(?! *const \{).*?'([a-z]+(?:-[a-z]+)+)': |(connection): '|: { (allow) }/gm
  for await (const file of glob('src/http/**/*.ts', { cwd: root })) {
    if (/routes\/(?!registry)/.test(file)) continue
    const source = readFileSync(join(root, file), 'utf8')
    for (const [, ...names] of source.matchAll(setting)) {
      const name = names.find((one) => one !== undefined) ?? ''
      places.set(name, [...(places.get(name) ?? []), file.replace('src/http/', '')])
    }
  }
  const page = readFileSync(join(root, 'docs/architecture.md'), 'utf8')
  const [, section = ''] = page.split('## Where a header is set')
  const told = new Map<string, string[]>()
  for (const [, names = '', files = ''] of section.matchAll(
    /^\| (`.*?) \| ((?:`[a-z/-]+\.ts`(?:, )?)+):/gm,
  )) {
    const list = [...files.matchAll(/`([^`]+)`/g)].map(([, file = '']) => file)
    for (const [, name = ''] of names.matchAll(/`([a-z-]+)`/g)) told.set(name, list)
  }
  const sorted = (map: Map<string, string[]>) =>
    [...map].map(([name, files]) => `${name}: ${[...new Set(files)].sort()}`).sort()
  // Its name is a constant that tests know as well.
  assert.deepEqual(sorted(told), [...sorted(places), 'x-larder-cache: describe-served.ts'])
})
