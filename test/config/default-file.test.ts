// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration has placeholders of its own
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { parse } from 'yaml'
import { configJsonSchema, configJsonSchemaText } from '../../src/cli/config-schema.ts'
import { loadConfig } from '../../src/config/load.ts'
import { settings } from '../../src/config/settings.ts'
import { dotted, valueAt } from '../../src/yaml/value-tree.ts'
import { selfSigned } from '../upstream/fixtures.ts'
import { configFolder } from './config-folder.ts'

const root = resolve(import.meta.dirname, '../..')
const text = await readFile(join(root, 'mirror.yml'), 'utf8')

/** Removes the "#" of settings, which stands right before a word; comments have a space behind it. */
function uncomment(lines: string, which: (line: string) => boolean): string {
  const changed = lines
    .split('\n')
    .map((line) => (which(line) ? line.replace(/^(\s*)#(?=- [a-z]|[a-z]| {2}[a-z]+:)/, '$1') : line))
  return changed.join('\n')
}

test('mirror.yml as it is changes nothing, and the first line points editors to the schema', async (t) => {
  assert.equal(text.split('\n')[0], '# yaml-language-server: $schema=./mirror.schema.json')
  const workingDirectory = await configFolder(t)
  const defaults = await loadConfig({ environment: {}, workingDirectory })
  const loaded = await loadConfig({ environment: {}, workingDirectory, file: join(root, 'mirror.yml') })
  assert.deepEqual(loaded.warnings, [])
  assert.deepEqual({ ...loaded.config, storage: {} }, { ...defaults.config, storage: {} })
  assert.equal(loaded.config.storage.dir, join(root, 'data'))
  assert.deepEqual([...loaded.origins.values()], [...defaults.origins.values()])
})

test('mirror.yml shows the defaults: uncommented they change nothing', async (t) => {
  const folder = await configFolder(t, {
    'mirror.yml': uncomment(text, (line) => !line.includes('(example)')),
  })
  const defaults = await loadConfig({ environment: {}, workingDirectory: await configFolder(t) })
  const loaded = await loadConfig({ environment: {}, workingDirectory: folder })
  assert.deepEqual({ ...loaded.config, storage: {} }, { ...defaults.config, storage: {} })
  assert.equal(loaded.config.storage.dir, join(folder, 'data'))
  const set = [...loaded.origins].filter(([, { source }]) => source === 'file').map(([path]) => path)
  const withDefault = settings
    .filter((setting) => setting.default !== undefined)
    .map(({ path }) => dotted(path))
  assert.deepEqual(
    withDefault.filter((path) => !set.includes(path)),
    [],
    'a setting with a default is not in mirror.yml',
  )
})

test('mirror.yml with every example uncommented is valid', async (t) => {
  const everything = uncomment(text, () => true)
  const { cert, key } = await selfSigned('DNS:localhost')
  const folder = await configFolder(t, {
    // What it names is opened.
    'mirror.yml': everything.replaceAll(' /certs/', ' certs/').replace(/^ *htpasswd: .*/m, ''),
    'certs/tls.crt': cert,
    'certs/tls.key': key,
    'certs/our-ca.pem': cert,
  })
  const { config } = await loadConfig({ environment: {}, workingDirectory: folder })
  assert.deepEqual(
    config.upstreams.map(({ name }) => name),
    ['docker.io', 'ghcr.io', 'registry.lan:5001'],
  )
  assert.deepEqual(config.server.tls, {
    certificate: join(folder, 'certs/tls.crt'),
    key: join(folder, 'certs/tls.key'),
  })
  const value: unknown = parse(everything)
  const upstreams = valueAt(value, ['upstreams']) as unknown[]
  const missing = settings.filter(({ path }) => {
    return path[1] === '*'
      ? !upstreams.some((upstream) => valueAt(upstream, path.slice(2)) !== undefined)
      : valueAt(value, path) === undefined
  })
  // It excludes password, and is named beside it.
  assert.deepEqual(
    missing.map(({ path }) => dotted(path)),
    ['upstreams.*.passwordFile'],
  )
  assert.ok(text.includes('or passwordFile: '))
})

test('mirror.schema.json is up to date: write it anew with "larder config schema > mirror.schema.json"', async () => {
  assert.equal(await readFile(join(root, 'mirror.schema.json'), 'utf8'), configJsonSchemaText())
})

test('the JSON Schema describes every setting, with its default as people write it', () => {
  const schema = configJsonSchema()
  for (const { path, default: fallback } of settings) {
    const steps = path.flatMap((part) => (part === '*' ? ['items'] : ['properties', part]))
    const leaf = valueAt(schema, steps) as Record<string, unknown> | undefined
    assert.ok(String(leaf?.description).length > 10, `${dotted(path)} has no description`)
    assert.deepEqual(leaf?.default, fallback, dotted(path))
  }
})

test('the JSON Schema takes the forms that people write, and refuses mistakes', () => {
  const pattern = (path: string[]) => {
    const leaf = valueAt(
      configJsonSchema(),
      path.flatMap((part) => ['properties', part]),
    ) as { pattern: string }
    return new RegExp(leaf.pattern, 'u')
  }
  const samples: [string[], string[], string[]][] = [
    [
      ['cache', 'revalidate'],
      ['5m', '1h30m', '0', 'never', '${X}', '${X:-5m}'],
      ['6 hours', '', 'forever', '5M'],
    ],
    [['cache', 'serveStale'], ['30d', 'never', 'forever'], ['always']],
    [
      ['cache', 'maxSize'],
      ['auto', '50GB', '512MiB', '80%', '1.5 GB'],
      ['50G', 'all', '80 %%'],
    ],
    [
      ['cache', 'minFree'],
      ['5GB', '123', 'auto'],
      ['5%', 'all'],
    ],
    [
      ['limits', 'rate'],
      ['off', '10MB/s', '8Mbit/s', '64 kbit/s'],
      ['8Mb/s', 'none', '10MB'],
    ],
  ]
  for (const [path, good, bad] of samples) {
    for (const text of good) assert.match(text, pattern(path))
    for (const text of bad) assert.doesNotMatch(text, pattern(path), `${path.join('.')}: ${text}`)
  }
})

test('the JSON Schema takes a share that is started as a map and as a text', () => {
  const leaf = valueAt(configJsonSchema(), ['properties', 'cache', 'properties', 'finish', 'anyOf'])
  const [text, map] = leaf as [{ pattern: string }, { properties: { started: { pattern: string } } }]
  const whole = new RegExp(text.pattern, 'u')
  for (const good of ['always', 'never', 'started: 50%', 'started:12.5 %', '${X}']) assert.match(good, whole)
  for (const bad of ['50%', 'started', 'started: half', 'sometimes']) assert.doesNotMatch(bad, whole)
  const share = new RegExp(map.properties.started.pattern, 'u')
  for (const good of ['50%', '12.5 %', '${X:-50%}']) assert.match(good, share)
  for (const bad of ['50', 'half', 'started: 50%']) assert.doesNotMatch(bad, share)
})
