import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve, sep } from 'node:path'
import { test } from 'node:test'

const source = resolve(import.meta.dirname, '../src')

/**
 * Which folder may import from which (docs/architecture.md). A folder that is not listed here fails the test:
 * a new one has to be given its place.
 */
const allowed: Record<string, readonly string[]> = {
  main: ['cli'],
  cli: ['app', 'config', 'logging', 'oci'],
  app: ['config', 'logging', 'http', 'registry', 'cache', 'storage', 'upstream', 'flow', 'oci'],
  config: [],
  logging: [],
  http: ['registry', 'cache', 'storage', 'upstream', 'flow', 'oci'],
  registry: ['cache', 'storage', 'upstream', 'flow', 'oci'],
  cache: ['storage', 'upstream', 'flow', 'oci'],
  storage: ['flow', 'oci'],
  upstream: ['flow', 'oci'],
  flow: [],
  oci: [],
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
      if (to !== from && !allowed[from]?.includes(to)) {
        wrong.push(`${relative(source, file)} imports ${relative(source, target)}: ${from} may not see ${to}`)
      }
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
