import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { RegistryError } from '../../src/oci/error.ts'
import { isRepositoryName } from '../../src/oci/repository-name.ts'
import { Router } from '../../src/registry/router.ts'

const names = ['docker.io', 'quay.io', 'ghcr.io', 'registry.lan:5001', 'campus', '10.0.0.5', 'quay.io.corp']
const router = new Router(names.map((name) => ({ name })))

/** `upstream name`, or the code of the error. `asked` is a name, or `/prefix/v2/name`. */
function routed(asked: string, namespace?: string, by = router, host?: string): string {
  const [, prefix, below] = /^\/([^/]+)\/v2\/(.*)$/s.exec(asked) ?? []
  try {
    const { upstream, name } = by.route({ name: below ?? asked, prefix, namespace, host })
    return `${upstream?.name} ${name}`
  } catch (error) {
    if (error instanceof RegistryError) return `${error.status} ${error.code}`
    throw error
  }
}

const cases: readonly [path: string, namespace: string | undefined, expected: string, host?: string][] = [
  // Nothing names a registry: the first upstream.
  ['alpine', undefined, 'docker.io library/alpine'],
  ['library/alpine', undefined, 'docker.io library/alpine'],
  ['acme/app', undefined, 'docker.io acme/app'],
  ['quay.io', undefined, 'docker.io library/quay.io'],
  ['evil.test/acme/app', undefined, '404 NAME_UNKNOWN'],
  ['localhost/app', undefined, '404 NAME_UNKNOWN'],

  // The first part of the name.
  ['docker.io/alpine', undefined, 'docker.io library/alpine'],
  ['docker.io/library/alpine', undefined, 'docker.io library/alpine'],
  ['index.docker.io/library/alpine', undefined, 'docker.io library/alpine'],
  ['registry-1.docker.io/alpine', undefined, 'docker.io library/alpine'],
  ['registry.hub.docker.com/library/alpine', undefined, 'docker.io library/alpine'],
  ['Docker.IO/library/alpine', undefined, 'docker.io library/alpine'],
  ['quay.io/app', undefined, 'quay.io app'],
  ['quay.io/acme/app', undefined, 'quay.io acme/app'],
  ['registry.lan:5001/acme/app', undefined, 'registry.lan:5001 acme/app'],
  ['registry.lan/acme/app', undefined, '404 NAME_UNKNOWN'],
  ['campus/app', undefined, 'campus app'],
  ['quay.io/quay.io/app', undefined, 'quay.io quay.io/app'],

  // ?ns=
  ['acme/app', 'quay.io', 'quay.io acme/app'],
  ['app', 'quay.io', 'quay.io app'],
  ['alpine', 'docker.io', 'docker.io library/alpine'],
  ['alpine', 'index.docker.io', 'docker.io library/alpine'],
  ['alpine', 'registry-1.docker.io', 'docker.io library/alpine'],
  ['alpine', 'Docker.IO', 'docker.io library/alpine'],
  ['acme/app', 'registry.lan:5001', 'registry.lan:5001 acme/app'],
  // What looks like a registry and is none of ours is part of the name: upstreams may have such.
  ['evil.test/acme/app', 'quay.io', 'quay.io evil.test/acme/app'],
  // An owner's name may be what an upstream is called here.
  ['campus/app', 'docker.io', 'docker.io campus/app'],

  // The path in front of /v2/.
  ['/docker.io/v2/library/alpine', undefined, 'docker.io library/alpine'],
  ['/docker.io/v2/alpine', undefined, 'docker.io library/alpine'],
  ['/index.docker.io/v2/alpine', undefined, 'docker.io library/alpine'],
  ['/QUAY.IO/v2/acme/app', undefined, 'quay.io acme/app'],
  ['/registry.lan:5001/v2/app', undefined, 'registry.lan:5001 app'],
  ['/campus/v2/app', undefined, 'campus app'],
  ['/docker.io/v2/campus/app', undefined, 'docker.io campus/app'],
  ['/evil.test/v2/acme/app', undefined, '404 NAME_UNKNOWN'],
  ['/mirror/v2/acme/app', undefined, '404 NAME_UNKNOWN'],

  // The Host header, where nothing in the URL says anything.
  ['acme/app', undefined, 'ghcr.io acme/app', 'ghcr.io.mirror.lan'],
  ['acme/app', undefined, 'ghcr.io acme/app', 'GHCR.io.mirror.lan.:5000'],
  ['acme/app', undefined, 'ghcr.io acme/app', 'ghcr.io'],
  ['acme/app', undefined, 'ghcr.io acme/app', 'ghcr.io:443'],
  ['alpine', undefined, 'docker.io library/alpine', 'docker.io.mirror.lan'],
  ['acme/app', undefined, 'docker.io acme/app', 'registry-1.docker.io'],
  ['campus/app', undefined, 'ghcr.io campus/app', 'ghcr.io.mirror.lan'],
  ['quay.io/acme/app', undefined, 'quay.io acme/app', 'ghcr.io.mirror.lan'],
  ['acme/app', 'quay.io', 'quay.io acme/app', 'ghcr.io.mirror.lan'],
  ['/quay.io/v2/acme/app', undefined, 'quay.io acme/app', 'ghcr.io.mirror.lan'],
  ['a/b', undefined, 'quay.io.corp a/b', 'quay.io.corp.mirror.lan'],
  // The mirror's own names are not confused with an upstream's.
  ['acme/app', undefined, 'docker.io acme/app', 'mirror.lan:5000'],
  ['acme/app', undefined, 'docker.io acme/app', 'localhost:5000'],
  ['acme/app', undefined, 'docker.io acme/app', 'registry.lan:5000'],
  ['acme/app', undefined, 'docker.io acme/app', 'registry.lan:5001'],
  ['acme/app', undefined, 'docker.io acme/app', 'ghcr.io:5000'],
  ['acme/app', undefined, 'docker.io acme/app', 'campus.lan'],
  ['acme/app', undefined, 'docker.io acme/app', 'campus'],
  ['acme/app', undefined, 'docker.io acme/app', '10.0.0.5'],
  ['acme/app', undefined, 'docker.io acme/app', '10.0.0.5:80'],
  ['acme/app', undefined, 'docker.io acme/app', '[::1]:5000'],
  ['acme/app', undefined, 'docker.io acme/app', 'mirror.ghcr.io.lan'],
  ['acme/app', undefined, 'docker.io acme/app', 'notghcr.io.mirror.lan'],
  ['acme/app', undefined, 'docker.io acme/app', 'ghcr.iomirror.lan'],
  ['acme/app', undefined, 'docker.io acme/app', 'evil.test'],
  ['acme/app', undefined, 'docker.io acme/app', 'user@ghcr.io'],
  ['acme/app', undefined, 'docker.io acme/app', ''],

  // Named twice, and the same is meant: `library/` is added after the dropping.
  ['docker.io/library/app', 'docker.io', 'docker.io library/app'],
  ['docker.io/app', 'docker.io', 'docker.io library/app'],
  ['index.docker.io/library/app', 'docker.io', 'docker.io library/app'],
  ['docker.io/library/app', 'registry-1.docker.io', 'docker.io library/app'],
  ['DOCKER.io/app', 'docker.io', 'docker.io library/app'],
  ['registry.lan:5001/acme/app', 'registry.lan:5001', 'registry.lan:5001 acme/app'],
  ['campus/acme/app', 'campus', 'campus acme/app'],
  ['/docker.io/v2/library/app', 'docker.io', 'docker.io library/app'],
  ['/docker.io/v2/app', 'index.docker.io', 'docker.io library/app'],
  ['/quay.io/v2/quay.io/acme/app', undefined, 'quay.io acme/app'],
  ['/quay.io/v2/quay.io/acme/app', 'quay.io', 'quay.io acme/app'],
  ['quay.io/acme/app', undefined, 'quay.io acme/app', 'quay.io.mirror.lan'],
  // Once: what is behind it is the name.
  ['quay.io/quay.io/app', 'quay.io', 'quay.io quay.io/app'],

  // Named twice, and not the same.
  ['quay.io/acme/app', 'ghcr.io', '404 NAME_UNKNOWN'],
  ['quay.io/acme/app', 'docker.io', '404 NAME_UNKNOWN'],
  ['index.docker.io/acme/app', 'quay.io', '404 NAME_UNKNOWN'],
  ['/quay.io/v2/acme/app', 'ghcr.io', '404 NAME_UNKNOWN'],
  ['/quay.io/v2/ghcr.io/acme/app', undefined, '404 NAME_UNKNOWN'],
  ['/quay.io/v2/ghcr.io/acme/app', 'ghcr.io', '404 NAME_UNKNOWN'],
  ['/evil.test/v2/acme/app', 'ghcr.io', '404 NAME_UNKNOWN'],
  ['/ghcr.io/v2/acme/app', 'evil.test', '404 NAME_UNKNOWN'],

  // A second /v2/, which containerd, dockerd and BuildKit add to an address that has it already.
  ['docker.io/v2/library/app', 'docker.io', 'docker.io library/app'],
  ['docker.io/v2/library/app', undefined, 'docker.io library/app'],
  ['v2/library/app', 'docker.io', 'docker.io library/app'],
  ['v2/quay.io/acme/app', undefined, 'quay.io acme/app'],
  ['quay.io/v2/acme/team/app', undefined, 'quay.io acme/team/app'],
  // An owner who is called "v2".
  ['v2/app', undefined, 'docker.io v2/app'],
  ['ghcr.io/v2/app', undefined, 'ghcr.io v2/app'],
  ['ghcr.io/v2/app', 'ghcr.io', 'ghcr.io v2/app'],

  // Unknown namespaces are never asked.
  ['library/x', '169.254.169.254', '404 NAME_UNKNOWN'],
  ['library/x', 'localhost:9000', '404 NAME_UNKNOWN'],
  ['library/x', 'evil.test', '404 NAME_UNKNOWN'],
  ['library/x', 'registry.lan', '404 NAME_UNKNOWN'],
  ['library/x', 'quay.io:443', '404 NAME_UNKNOWN'],
  ['library/x', '..', '404 NAME_UNKNOWN'],
  ['library/x', '__proto__', '404 NAME_UNKNOWN'],

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
  ['docker.io/', 'docker.io', '400 NAME_INVALID'],
  ['/alpine', undefined, '400 NAME_INVALID'],
  ['Acme/app', undefined, '400 NAME_INVALID'],
  ['quay.io/Acme', undefined, '400 NAME_INVALID'],
  ['a/../b', undefined, '400 NAME_INVALID'],
  ['a//b', 'quay.io', '400 NAME_INVALID'],
  ['a'.repeat(256), 'quay.io', '400 NAME_INVALID'],
]

for (const [path, namespace, expected, host] of cases) {
  const ns = namespace === undefined ? '' : ` with ns=${JSON.stringify(namespace)}`
  const called = host === undefined ? '' : ` at ${host}`
  test(`${JSON.stringify(path.slice(0, 40))}${ns}${called} leads to ${expected}`, () => {
    assert.equal(routed(path, namespace, router, host), expected)
  })
}

test('two registries in one request: the refusal names both, and where they stood', () => {
  for (const [asked, said] of [
    [
      { name: 'quay.io/acme/app', namespace: 'docker.io' },
      /\?ns=docker\.io means docker\.io.*first part quay\.io means quay\.io/,
    ],
    [
      { name: 'acme/app', prefix: 'quay.io', namespace: 'ghcr.io' },
      /\?ns=ghcr\.io means ghcr\.io.*path \/quay\.io means quay\.io/,
    ],
    [
      { name: 'ghcr.io/app', prefix: 'quay.io' },
      /path \/quay\.io means quay\.io.*first part ghcr\.io means ghcr\.io/,
    ],
  ] as const) {
    assert.throws(() => router.route(asked), { code: 'NAME_UNKNOWN', status: 404, message: said })
  }
})

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
  assert.throws(() => router.route({ name: 'a', namespace: 'evil.test' }), {
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
  const optional = fc.option(text, { nil: undefined })
  fc.assert(
    fc.property(fc.oneof(text, repository), optional, optional, optional, (name, namespace, prefix, host) => {
      try {
        const route = router.route({ name, namespace, prefix, host })
        found += 1
        assert.ok(names.includes(route.upstream?.name ?? ''))
        assert.ok(isRepositoryName(route.name))
        assert.ok(name.endsWith(route.name) || name.endsWith(route.name.slice('library/'.length)))
      } catch (error) {
        if (!(error instanceof RegistryError)) throw error
        assert.match(`${error.status} ${error.code}`, /^(?:400 NAME_INVALID|404 NAME_UNKNOWN)$/)
      }
    }),
    { numRuns: 5000 },
  )
  assert.ok(found > 50)
})

test('?ns=, the path before /v2/, the first part of the name, the host, or all of them: the same repository', () => {
  fc.assert(
    fc.property(repository, fc.constantFrom('docker.io', 'quay.io', 'ghcr.io'), (path, name) => {
      const expected = routed(path, name)
      assert.equal(routed(`${name}/${path}`), expected)
      assert.equal(routed(`/${name}/v2/${path}`), expected)
      assert.equal(routed(path, undefined, router, `${name}.mirror.lan`), expected)
      assert.equal(routed(`/${name}/v2/${name}/${path}`, name, router, `${name}.mirror.lan`), expected)
    }),
  )
})
