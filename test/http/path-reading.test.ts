/**
 * How the path of a request is read (docs/routing.md, "What is read in a path"), by raw socket. Neighbours that were
 * thought of: each legal character escaped, in either case of hex, in names, tags, digests, registries with a port,
 * `/v2`, the word behind the name; a whole name escaped; escapes twice, of slashes in tags and digests, of dots that
 * climb, of control characters, of bytes that are no UTF-8; half escapes; names and tags that are too long or of the
 * wrong case; digests of other algorithms; HEAD and GET; all of them below a path and with `?ns=`.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { isRegistryUrl, parseRegistryUrl } from '../../src/http/registry-url.ts'
import { RegistryError } from '../../src/oci/error.ts'
import { pull } from '../support/client.ts'
import { type DockerHub, startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { exchange } from '../support/raw-http.ts'

const image = buildImage()
const hex = 'a'.repeat(64)
const parts = new AsyncDisposableStack()
let hub: DockerHub
let mirror: TestMirror

before(async () => {
  hub = parts.use(await startDockerHub())
  for (const tag of ['1', 'v1.2_x-y', '_x']) hub.addImage('library/my-app_x.y', tag, image)
  const upstreams = [
    { name: 'docker.io', url: hub.url },
    { name: 'registry.lan:5001', url: hub.url },
  ]
  mirror = parts.use(await startMirror({ config: { upstreams, 'cache.negative': '0s' } }))
})
after(() => parts.disposeAsync())

async function raw(target: string, method = 'GET') {
  const answer = await exchange(
    mirror.port,
    `${method} ${target} HTTP/1.1\r\nHost: mirror.lan\r\nConnection: close\r\n\r\n`,
  )
  const [head = '', text = ''] = answer.split('\r\n\r\n')
  const [error] = method === 'GET' && text.startsWith('{"errors"') ? JSON.parse(text).errors : []
  return { status: Number(head.split(' ')[1]), head, text, code: error?.code, message: error?.message ?? '' }
}

/** Escapes every character, as nobody does but everybody may. */
function escaped(text: string): string {
  return [...text].map((one) => `%${one.charCodeAt(0).toString(16)}`).join('')
}

const digest = image.manifest.digest
const legal = [
  `library/my-app_x.y/manifests/${digest.replace(':', '%3A')}`,
  `library/my-app_x.y/manifests/${digest.replace(':', '%3a')}`,
  `library/my-app_x.y/manifests/${escaped(digest)}`,
  `library/my-app_x.y/blobs/${image.config.digest.replace(':', '%3A')}`,
  'library/my%2Dapp%5Fx%2Ey/manifests/v1%2E2%5Fx%2Dy',
  'library/my-app_x.y/manifests/%5fx',
  'library%2Fmy-app_x.y/manifests/1',
  'library%2fmy-app_x.y/tags/list',
  'registry.lan%3A5001/library/my-app_x.y/manifests/1',
  'registry.lan%3A5001%2Flibrary%2Fmy-app_x.y/manifests/1',
  `${escaped('library')}/${escaped('my-app_x.y')}/manifests/1`,
  'library/my-app_x.y/m%61nifests/1',
  `library/my-app_x.y/manifests/1?ns=docker%2Eio`,
]
for (const path of legal) {
  test(`a client that escapes: ${path.slice(0, 70)}`, async () => {
    for (const method of ['GET', 'HEAD']) {
      assert.equal((await raw(`/v2/${path}`, method)).status, 200, method)
      assert.equal(
        (await raw(`/docker%2eio/v2/${path.replace(/^reg.*?5001(?:\/|%2F)/, '')}`, method)).status,
        200,
      )
    }
  })
}

const refused: readonly [path: string, status: number, code: string][] = [
  // No path of any registry.
  [`app/manifests/sha256%253A${hex}`, 400, 'NAME_INVALID'],
  ['app/manifests/1%2525', 400, 'NAME_INVALID'],
  ['app/manifests/a%2Fb', 400, 'NAME_INVALID'],
  ['app/manifests/a%2fb', 400, 'NAME_INVALID'],
  ['app/manifests/%2F', 400, 'NAME_INVALID'],
  [`app/blobs/sha256:${hex}%2F`, 400, 'NAME_INVALID'],
  ['app/tags/list%2F', 400, 'NAME_INVALID'],
  ['%2e%2e/%2e%2e/etc/passwd/manifests/x', 400, 'NAME_INVALID'],
  ['..%2f..%2fetc/passwd/manifests/x', 400, 'NAME_INVALID'],
  ['%2F%2F..%2F..%2Fetc%2Fpasswd/manifests/x', 400, 'NAME_INVALID'],
  ['.%2e/a/manifests/x', 400, 'NAME_INVALID'],
  ['a/../b/manifests/x', 400, 'NAME_INVALID'],
  ['a/./b/manifests/x', 400, 'NAME_INVALID'],
  ['app/manifests/..', 400, 'NAME_INVALID'],
  ['app/manifests/%2e%2e', 400, 'NAME_INVALID'],
  ['app%00/manifests/x', 400, 'NAME_INVALID'],
  ['app/manifests/x%0a', 400, 'NAME_INVALID'],
  ['app/manifests/x%0d%0aSet-Cookie:a', 400, 'NAME_INVALID'],
  ['app/manifests/%C3%A9', 400, 'NAME_INVALID'],
  ['app/manifests/a%20b', 400, 'NAME_INVALID'],
  ['app/manifests/a+b', 400, 'NAME_INVALID'],
  ['app/manifests/a~b', 400, 'NAME_INVALID'],
  ['app/manifests/a@b', 400, 'NAME_INVALID'],
  ['app/manifests/a%5Cb', 400, 'NAME_INVALID'],
  ['a\\b/manifests/x', 400, 'NAME_INVALID'],
  ['..\\..\\etc/manifests/x', 400, 'NAME_INVALID'],
  ['%c0%ae%c0%ae/manifests/x', 400, 'UNSUPPORTED'],
  ['app/manifests/%ff', 400, 'UNSUPPORTED'],
  ['app/manifests/x%', 400, 'UNSUPPORTED'],
  ['app/manifests/x%4', 400, 'UNSUPPORTED'],
  ['app/manifests/x%zz', 400, 'UNSUPPORTED'],
  ['app/manifests/%u0041', 400, 'UNSUPPORTED'],
  // Names that nothing can have.
  ['Library/app/manifests/1', 404, 'NAME_UNKNOWN'],
  ['library/App/tags/list', 404, 'NAME_UNKNOWN'],
  [`library/APP/blobs/sha256:${hex}`, 404, 'NAME_UNKNOWN'],
  ['library//app/manifests/1', 404, 'NAME_UNKNOWN'],
  ['library%2F%2Fapp/manifests/1', 404, 'NAME_UNKNOWN'],
  ['/app/manifests/1', 404, 'NAME_UNKNOWN'],
  ['%2Fapp/manifests/1', 404, 'NAME_UNKNOWN'],
  ['-app/manifests/1', 404, 'NAME_UNKNOWN'],
  ['app-/manifests/1', 404, 'NAME_UNKNOWN'],
  ['a..b/manifests/1', 404, 'NAME_UNKNOWN'],
  ['a___b/manifests/1', 404, 'NAME_UNKNOWN'],
  [`${'a'.repeat(300)}/manifests/1`, 404, 'NAME_UNKNOWN'],
  ['docker.io/Library/app/manifests/1', 404, 'NAME_UNKNOWN'],
  ['app/manifests/1?ns=', 404, 'NAME_UNKNOWN'],
  ['app/manifests/1?ns=http://evil/', 404, 'NAME_UNKNOWN'],
  // Tags that nothing can have.
  ['app/manifests/.INVALID_MANIFEST_NAME', 404, 'MANIFEST_UNKNOWN'],
  ['app/manifests/%2EINVALID_MANIFEST_NAME', 404, 'MANIFEST_UNKNOWN'],
  ['app/manifests/-x', 404, 'MANIFEST_UNKNOWN'],
  [`app/manifests/${'a'.repeat(129)}`, 404, 'MANIFEST_UNKNOWN'],
  ['app/manifests/', 404, 'MANIFEST_UNKNOWN'],
  // Digests that are none, or none that we know.
  ['app/manifests/sha256:baddigeststring', 400, 'DIGEST_INVALID'],
  ['app/manifests/sha256%3Abaddigeststring', 400, 'DIGEST_INVALID'],
  [`app/manifests/sha384:${hex}`, 400, 'DIGEST_INVALID'],
  [`app/blobs/sha256:${hex}0`, 400, 'DIGEST_INVALID'],
  [`app/blobs/sha256:${hex.slice(1)}`, 400, 'DIGEST_INVALID'],
  [`app/blobs/sha256:${hex.toUpperCase()}`, 400, 'DIGEST_INVALID'],
  [`app/blobs/SHA256:${hex}`, 400, 'DIGEST_INVALID'],
  [`app/blobs/md5:${hex.slice(32)}`, 400, 'DIGEST_INVALID'],
  [`app/blobs/sha512:${hex}`, 400, 'DIGEST_INVALID'],
  ['app/blobs/nonsense', 400, 'DIGEST_INVALID'],
  ['app/blobs/', 400, 'DIGEST_INVALID'],
  ['app/referrers/sha256:abc', 400, 'DIGEST_INVALID'],
  // Nothing there.
  ['app/tags/list/', 404, 'UNSUPPORTED'],
  ['app/manifests/1/', 404, 'UNSUPPORTED'],
  ['app/manifest/1', 404, 'UNSUPPORTED'],
  ['manifests/1', 404, 'UNSUPPORTED'],
  ['library%2Fapp%2Fmanifests%2F1', 404, 'UNSUPPORTED'],
  ['app', 404, 'UNSUPPORTED'],
]
for (const [path, status, code] of refused) {
  test(`${path.slice(0, 60)}: ${status} ${code}, and nobody is asked`, async () => {
    hub.reset()
    const get = await raw(`/v2/${path}`)
    assert.deepEqual([get.status, get.code], [status, code], get.text)
    assert.ok(get.message.length > 15, get.message)
    const head = await raw(`/v2/${path}`, 'HEAD')
    assert.deepEqual([head.status, head.text], [status, ''])
    assert.equal((await raw(`/docker.io/v2/${path}`)).status, status)
    assert.equal(hub.count(), 0)
  })
}

test('the sentence of a 404 says what is wrong with the name or the tag', async () => {
  assert.match(
    (await raw('/v2/Library/app/manifests/1')).message,
    /"Library\/app" is not a repository name: lower-case/,
  )
  assert.match((await raw('/v2/My-App/manifests/1')).message, /^"My-App" is not a repository name/)
  assert.match((await raw('/v2/app/manifests/.hidden')).message, /"\.hidden" is not a tag: a letter/)
})

test('an error about a blob says nothing that would be true of the blob', async () => {
  const [layer] = image.layers
  assert.ok(layer)
  const url = `${mirror.url}/v2/library/my-app_x.y/blobs/${layer.digest}`
  assert.equal((await pull(url)).status, 200)
  const unknown = `${mirror.url}/v2/library/my-app_x.y/blobs/sha256:${hex}`
  const answers = [
    await pull(url, { headers: { range: `bytes=${layer.size}-` } }),
    await pull(unknown),
    await pull(unknown, { method: 'HEAD' }),
    await pull(unknown, { headers: { range: 'bytes=0-' } }),
    await pull(`${mirror.url}/v2/library/my-app_x.y/manifests/none`),
  ]
  assert.deepEqual(
    answers.map(({ status }) => status),
    [416, 404, 404, 404, 404],
  )
  for (const { headers } of answers) {
    assert.equal(headers['cache-control'], 'no-store')
    for (const name of ['etag', 'docker-content-digest', 'accept-ranges', 'age', 'warning']) {
      assert.equal(headers[name], undefined, name)
    }
    assert.match(String(headers['content-type']), /^application\/json/)
  }
  assert.equal(answers[0]?.headers['content-range'], `bytes */${layer.size}`)
})

test('whatever a path holds, nothing comes out of it that could climb, end a line, or be decoded again', () => {
  const piece = fc.constantFrom(
    ...[
      'a',
      'app',
      '/',
      '.',
      '..',
      '%2e',
      '%2E%2e',
      '%2F',
      '%5c',
      '\\\\',
      '%25',
      '%252e',
      '%00',
      '%0a',
      '%0d',
      '%c0%ae',
    ],
    ...[
      '%3A',
      ':',
      'manifests',
      'blobs',
      'tags/list',
      'v2',
      `sha256:${hex}`,
      '%',
      '@',
      '~',
      ' ',
      'é',
      '?ns=',
      '#',
    ],
  )
  let read = 0
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 12 }),
      fc.constantFrom('/v2/', '/x/v2/', '/x%2Fy/v2/'),
      (pieces, start) => {
        const rawUrl = start + pieces.join('')
        assert.ok(isRegistryUrl(rawUrl))
        try {
          const { target, prefix, path } = parseRegistryUrl(rawUrl)
          read += 1
          const name = 'name' in target ? target.name : ''
          for (const part of [...name.split('/'), prefix ?? '']) {
            assert.match(part, /^[A-Za-z0-9._:-]*$/)
            assert.ok(part !== '..' && part !== '.', rawUrl)
          }
          assert.match(path, /^[A-Za-z0-9._:/%-]*$/)
          assert.doesNotMatch(path, /%(?:25|00|0[ad])/i)
        } catch (error) {
          if (!(error instanceof RegistryError)) throw error
          assert.ok(error.status === 400 || error.status === 404)
        }
      },
    ),
    { numRuns: 5000, examples: [[['%2F', '/', 'v2'], '/v2/']] },
  )
  assert.ok(read > 200, String(read))
})
