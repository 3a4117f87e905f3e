import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { RegistryError } from '../../src/oci/error.ts'
import { isRepositoryName } from '../../src/oci/repository-name.ts'
import { Router } from '../../src/upstream/router.ts'

const names = ['docker.io', 'quay.io', 'ghcr.io', 'registry.lan:5000']
const router = new Router(names.map((name) => ({ name })))

/** `upstream/name`, or the code of the error. */
function routed(path: string, namespace?: string, by = router): string {
  try {
    const { upstream, name } = by.route(path, namespace)
    return `${upstream.name} ${name}`
  } catch (error) {
    if (error instanceof RegistryError) return `${error.status} ${error.code}`
    throw error
  }
}

const cases: readonly [path: string, namespace: string | undefined, expected: string][] = [
  // Without a namespace: the first upstream, or the one that the path begins with.
  ['alpine', undefined, 'docker.io library/alpine'],
  ['library/alpine', undefined, 'docker.io library/alpine'],
  ['acme/app', undefined, 'docker.io acme/app'],
  ['docker.io/alpine', undefined, 'docker.io library/alpine'],
  ['docker.io/library/alpine', undefined, 'docker.io library/alpine'],
  ['index.docker.io/library/alpine', undefined, 'docker.io library/alpine'],
  ['registry-1.docker.io/alpine', undefined, 'docker.io library/alpine'],
  ['quay.io/app', undefined, 'quay.io app'],
  ['quay.io/acme/app', undefined, 'quay.io acme/app'],
  ['registry.lan:5000/acme/app', undefined, 'registry.lan:5000 acme/app'],
  ['quay.io/quay.io/app', undefined, 'quay.io quay.io/app'],
  ['quay.io', undefined, 'docker.io library/quay.io'],
  ['evil.test/acme/app', undefined, '404 NAME_UNKNOWN'],
  ['localhost/app', undefined, '404 NAME_UNKNOWN'],

  // A namespace wins, and the path is the whole name then.
  ['acme/app', 'quay.io', 'quay.io acme/app'],
  ['app', 'quay.io', 'quay.io app'],
  ['alpine', 'docker.io', 'docker.io library/alpine'],
  ['alpine', 'index.docker.io', 'docker.io library/alpine'],
  ['alpine', 'registry-1.docker.io', 'docker.io library/alpine'],
  ['alpine', 'Docker.IO', 'docker.io library/alpine'],
  ['quay.io/acme/app', 'ghcr.io', 'ghcr.io quay.io/acme/app'],
  ['acme/app', 'registry.lan:5000', 'registry.lan:5000 acme/app'],

  // Unknown namespaces are never asked.
  ['library/x', '169.254.169.254', '404 NAME_UNKNOWN'],
  ['library/x', 'localhost:9000', '404 NAME_UNKNOWN'],
  ['library/x', 'evil.test', '404 NAME_UNKNOWN'],
  ['library/x', 'registry.lan', '404 NAME_UNKNOWN'],
  ['library/x', 'quay.io:443', '404 NAME_UNKNOWN'],
  ['library/x', '..', '404 NAME_UNKNOWN'],

  // Malformed.
  ['library/x', '', '400 NAME_INVALID'],
  ['library/x', 'docker.io/..', '400 NAME_INVALID'],
  ['library/x', 'http://docker.io', '400 NAME_INVALID'],
  ['library/x', 'user@docker.io', '400 NAME_INVALID'],
  ['library/x', 'docker.io\n', '400 NAME_INVALID'],
  ['library/x', 'docker.io,evil', '400 NAME_INVALID'],
  ['library/x', '[::1]', '400 NAME_INVALID'],
  ['', undefined, '400 NAME_INVALID'],
  ['quay.io/', undefined, '400 NAME_INVALID'],
  ['/alpine', undefined, '400 NAME_INVALID'],
  ['Acme/app', undefined, '400 NAME_INVALID'],
  ['quay.io/Acme', undefined, '400 NAME_INVALID'],
  ['a/../b', undefined, '400 NAME_INVALID'],
  ['a//b', 'quay.io', '400 NAME_INVALID'],
  ['a'.repeat(256), 'quay.io', '400 NAME_INVALID'],
]

for (const [path, namespace, expected] of cases) {
  const ns = namespace === undefined ? '' : ` with ns=${JSON.stringify(namespace)}`
  test(`${JSON.stringify(path.slice(0, 40))}${ns} leads to ${expected}`, () => {
    assert.equal(routed(path, namespace), expected)
  })
}

test('library/ is for Docker Hub alone, wherever it stands in the list', () => {
  const other = new Router([{ name: 'quay.io' }, { name: 'docker.io' }])
  assert.equal(routed('alpine', undefined, other), 'quay.io alpine')
  assert.equal(routed('docker.io/alpine', undefined, other), 'docker.io library/alpine')
})

test('the other names of Docker Hub mean nothing where it is not configured', () => {
  const other = new Router([{ name: 'quay.io' }])
  assert.equal(routed('alpine', 'index.docker.io', other), '404 NAME_UNKNOWN')
  assert.equal(routed('index.docker.io/a', undefined, other), '404 NAME_UNKNOWN')
})

test('an upstream that is configured as registry-1.docker.io is itself', () => {
  const both = new Router([{ name: 'docker.io' }, { name: 'registry-1.docker.io' }])
  assert.equal(routed('acme/app', 'registry-1.docker.io', both), 'registry-1.docker.io acme/app')
})

test('the refusal of a namespace says what is served and where that is set', () => {
  assert.throws(() => router.route('a', 'evil.test'), {
    message: /evil\.test.*docker\.io, quay\.io, ghcr\.io.*mirror\.yml/,
  })
})

test('without an upstream there is no router', () => {
  assert.throws(() => new Router([]), TypeError)
})

const piece = fc.constantFrom(
  'a',
  'A',
  '/',
  '..',
  '-',
  '_',
  '.',
  ':',
  '5000',
  '%',
  '@',
  '\\',
  'quay.io',
  'docker.io',
)
const text = fc.oneof(
  fc.string(),
  fc.array(piece, { maxLength: 8 }).map((parts) => parts.join('')),
)

const component = fc.stringMatching(/^[a-z0-9]{1,8}$/)
const repository = fc.array(component, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'))

test('whatever a client sends, a configured upstream and a valid name come out, or a refusal', () => {
  let found = 0
  fc.assert(
    fc.property(fc.oneof(text, repository), fc.option(text, { nil: undefined }), (path, namespace) => {
      try {
        const { upstream, name } = router.route(path, namespace)
        found += 1
        assert.ok(names.includes(upstream.name))
        assert.ok(isRepositoryName(name))
        assert.ok(path.endsWith(name) || name === `library/${path}` || path.endsWith(`/${name.slice(8)}`))
      } catch (error) {
        if (!(error instanceof RegistryError)) throw error
        assert.match(`${error.status} ${error.code}`, /^(?:400 NAME_INVALID|404 NAME_UNKNOWN)$/)
      }
    }),
    { numRuns: 5000 },
  )
  assert.ok(found > 50)
})

test('ns= and the same name as first component of the path lead to the same repository', () => {
  fc.assert(
    fc.property(repository, fc.constantFrom(...names), (path, name) => {
      assert.equal(routed(`${name}/${path}`), routed(path, name))
    }),
  )
})
