import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve, sep } from 'node:path'
import { test } from 'node:test'

const source = resolve(import.meta.dirname, '../src')

/**
 * Which folder may import from which folders, or files of them (docs/architecture.md). A folder that is not listed here
 * fails the test: a new one has to be given its place.
 */
const allowed: Record<string, readonly string[]> = {
  main: ['cli'],
  cli: [
    'access/policy.ts',
    'app',
    'config',
    'flow/collect-garbage.ts',
    'logging',
    'names',
    'oci',
    'units',
    'yaml',
  ],
  app: [
    'config',
    'access',
    'logging',
    'http',
    'registry',
    'mirror',
    'content',
    'storage',
    'upstream',
    'names',
    'flow',
    'oci',
  ],
  config: ['access/htpasswd.ts', 'access/policy.ts', 'names', 'pem', 'units', 'yaml'],
  logging: ['units'],
  // It asks repositories, and knows nothing of what stands behind them but how it fails.
  http: [
    'access',
    'registry',
    'storage/blob-reader.ts',
    'storage/error.ts',
    'storage/repository-key.ts',
    'upstream/error.ts',
    'names',
    'pem',
    'flow',
    'oci',
  ],
  registry: ['mirror', 'content', 'storage', 'upstream', 'names', 'flow', 'oci'],
  // Who may do what, and who somebody is.
  access: ['flow', 'oci', 'units'],
  // Bytes by their digest, and what upstreams said about names: neither knows the other.
  content: ['storage', 'upstream', 'flow', 'oci'],
  mirror: ['storage', 'upstream', 'flow', 'oci'],
  storage: ['names/repository-patterns.ts', 'flow', 'oci'],
  upstream: ['names', 'flow', 'oci'],
  pem: [],
  names: ['units'],
  units: [],
  yaml: [],
  flow: [],
  oci: [],
}

/** The rooms of packages, as folders or files of `src`; a package that is not listed may be used everywhere. */
const rooms: Record<string, readonly string[]> = {
  fastify: ['http', 'app.ts'],
  'prom-client': ['http'],
  got: ['upstream'],
  keyv: ['flow'],
  tldts: ['upstream'],
  'node:sqlite': ['storage'],
  yaml: ['yaml'],
  commander: ['cli'],
  bcrypt: ['access'],
  jose: ['access'],
}

function sourceFiles(): string[] {
  return readdirSync(source, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join(source, file))
}

function layerOf(file: string): string {
  const [first = ''] = relative(source, file).split(sep)
  return first.replace(/\.ts$/, '')
}

function importsOf(file: string): string[] {
  const text = readFileSync(file, 'utf8')
  const found = [...text.matchAll(/(?:from|import\(|import|new URL\()\s*['"`](\.[^'"`]+)['"`]/g)]
  return found
    .map((match) => resolve(dirname(file), match[1] ?? ''))
    .filter((target) => target.startsWith(source + sep))
}

test('imports go down only', () => {
  const wrong: string[] = []
  for (const file of sourceFiles()) {
    const from = layerOf(file)
    assert.ok(from in allowed, `${relative(source, file)} lies in a folder that has no place in the layers`)
    for (const target of importsOf(file)) {
      const to = layerOf(target)
      const seen = relative(source, target).split(sep).join('/')
      if (to !== from && !allowed[from]?.some((place) => place === to || place === seen)) {
        wrong.push(`${relative(source, file)} imports ${seen}: ${from} may not see ${to}`)
      }
    }
  }
  assert.deepEqual(wrong, [])
})

test('packages are used in their rooms only', () => {
  const wrong: string[] = []
  for (const file of sourceFiles()) {
    const name = relative(source, file)
    const text = readFileSync(file, 'utf8')
    for (const [, used = ''] of text.matchAll(/(?:from|import\(|import)\s*['"`]([^.'"`][^'"`]*)['"`]/g)) {
      const room = rooms[used] ?? rooms[used.split('/')[0] ?? '']
      const isInside = room?.some((place) => name === place || name.startsWith(place + sep))
      if (isInside === false) wrong.push(`${name} uses ${used}, which belongs to ${room?.join(' and ')}`)
    }
  }
  assert.deepEqual(wrong, [])
})

test('no file re-exports another one', () => {
  const barrels = sourceFiles().filter((file) =>
    /^export (?:\*|\{[^}]*\}) from/m.test(readFileSync(file, 'utf8')),
  )
  assert.deepEqual(barrels, [])
})

test('only main.ts ends the process', () => {
  const enders = sourceFiles()
    .filter((file) => /process\.exit\(/.test(readFileSync(file, 'utf8')))
    .map((file) => relative(source, file))
  assert.deepEqual(
    enders.filter((file) => file !== 'main.ts'),
    [],
  )
})
