import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { parse } from 'yaml'
import { variableName } from '../../src/config/environment.ts'
import { loadConfig } from '../../src/config/load.ts'
import { settings } from '../../src/config/settings.ts'
import { squash } from '../../src/units/suggestion.ts'
import { configFolder, load, problemsOf } from './config-folder.ts'

async function errorsOf(
  t: Parameters<typeof load>[0],
  environment: NodeJS.ProcessEnv,
  text = '',
): Promise<string[]> {
  const problems = await problemsOf(load(t, text, { environment }))
  return problems
    .filter(({ severity }) => severity === 'error')
    .map(({ where, message }) => `${where} ${message}`)
}

test('no two settings have the same name once case and underscores are gone', () => {
  const names = settings.map(({ path }) => squash(path.join('')))
  assert.equal(new Set(names).size, names.length)
  assert.ok(names.length >= 28)
})

test('the _FILE form of a setting is no other setting, but for the password of an upstream', () => {
  const names = new Set(settings.map(({ path }) => squash(path.join(''))))
  const clashes = [...names].filter((name) => names.has(`${name}file`))
  // Both mean the same: read the password from this file.
  assert.deepEqual(clashes, ['upstreams*password'])
})

test('every setting has a variable, in any spelling of case and underscores', async (t) => {
  const values: Record<string, string> = {
    'server.listen': ':1',
    'storage.dir': '/d',
    'cache.maxSize': '1GB',
    'log.level': 'warn',
  }
  for (const spelling of [(name: string) => name, squashed, doubled]) {
    const environment = Object.fromEntries(
      Object.entries(values).map(([path, value]) => [spelling(variableName(path.split('.'))), value]),
    )
    const { config, origins } = await load(t, '', { environment })
    assert.deepEqual(config.server.listen, [{ host: undefined, port: 1 }])
    assert.deepEqual([config.storage.dir, config.cache.maxSize, config.log.level], ['/d', 1e9, 'warn'])
    for (const path of Object.keys(values)) assert.equal(origins.get(path)?.source, 'environment')
  }
})

const squashed = (name: string) => `MIRROR_${name.slice(7).replaceAll('_', '')}`
const doubled = (name: string) => `MIRROR_${name.slice(7).replaceAll('_', '__').toLowerCase()}`

test('values are YAML, and text that YAML would change stays as it is', async (t) => {
  const { config } = await load(t, '', {
    environment: {
      MIRROR_SERVER_LISTEN: '[::1]:5000',
      MIRROR_LOCAL_REPOSITORIES: '[a, "b/*"]',
      MIRROR_LIMITS_RETRIES: '3',
      MIRROR_STORAGE_DIR: '"/quoted dir"',
      MIRROR_UPSTREAMS: '[{name: docker.io, url: "http://127.0.0.1:5555"}, {name: ghcr.io}]',
      MIRROR_UPSTREAMS_1_USERNAME: '0123',
      MIRROR_UPSTREAMS_1_PASSWORD: ' {"a": #1 ',
      MIRROR_CACHE_NEGATIVE: '',
    },
  })
  assert.deepEqual(config.server.listen, [{ host: '::1', port: 5000 }])
  assert.deepEqual(config.local.repositories, ['a', 'b/*'])
  assert.deepEqual(
    [config.limits.retries, config.storage.dir, config.cache.negative],
    [3, '/quoted dir', 60_000],
  )
  const alias = await load(t, '', { environment: { MIRROR_STORAGE_DIR: '*users' } })
  assert.match(alias.config.storage.dir, /\/\*users$/)
  const [hub, github] = config.upstreams
  assert.deepEqual(hub, { name: 'docker.io', url: 'http://127.0.0.1:5555', realms: [] })
  assert.deepEqual([github?.username, github?.password], ['0123', ' {"a": #1 '])
  const several = await load(t, '', { environment: { MIRROR_SERVER_LISTEN: '[":1", ":2"]' } })
  assert.deepEqual(
    several.config.server.listen.map(({ port }) => port),
    [1, 2],
  )
})

test('an entry of upstreams can be changed alone: of the file, of the default, or a new one', async (t) => {
  const changed = await load(t, 'upstreams: [{name: ghcr.io}]', {
    environment: { MIRROR_UPSTREAMS_0_URL: 'http://a:1', MIRROR_UPSTREAMS_1_NAME: 'quay.io' },
  })
  assert.deepEqual(
    changed.config.upstreams.map(({ name, url }) => [name, url]),
    [
      ['ghcr.io', 'http://a:1'],
      ['quay.io', 'https://quay.io'],
    ],
  )
  const account = { MIRROR_UPSTREAMS_0_USERNAME: 'ann', MIRROR_UPSTREAMS_0_PASSWORD: 'x' }
  const [hub] = (await load(t, '', { environment: account })).config.upstreams
  assert.deepEqual([hub?.name, hub?.username, hub?.realms], ['docker.io', 'ann', ['https://auth.docker.io']])
})

test('_FILE reads a value from a file, for secrets and for everything else', async (t) => {
  const workingDirectory = await configFolder(t, { secret: 'a: b\n', retries: '7\n' })
  const environment = {
    MIRROR_UPSTREAMS_0_USERNAME_FILE: 'secret',
    MIRROR_UPSTREAMS_0_PASSWORD_FILE: 'secret',
    MIRROR_LIMITS_RETRIES_FILE: 'retries',
  }
  const username = {
    ...environment,
    MIRROR_UPSTREAMS_0_USERNAME: 'ann',
    MIRROR_UPSTREAMS_0_USERNAME_FILE: undefined,
  }
  const { config } = await loadConfig({ environment: username, workingDirectory })
  assert.equal(config.limits.retries, 7)
  assert.equal(config.upstreams[0]?.password, 'a: b')
  const gone = { MIRROR_LIMITS_RETRIES_FILE: 'gone' }
  assert.deepEqual(await errorsOf(t, gone), [
    'environment MIRROR_LIMITS_RETRIES_FILE: cannot read gone: no such file',
  ])
})

test('a variable that is no setting stops the start, with a suggestion', async (t) => {
  const wrong = [
    'MIRROR_CACH_MAX_SIZE',
    'MIRROR_UPSTREAMS_3_PASWORD',
    'MIRROR_LOGLEVL',
    'MIRROR_QUX',
    'MIRROR_UPSTREAMS_999_URL',
  ]
  assert.deepEqual(await errorsOf(t, Object.fromEntries(wrong.map((name) => [name, '1']))), [
    'environment MIRROR_CACH_MAX_SIZE is no setting: did you mean MIRROR_CACHE_MAX_SIZE?',
    'environment MIRROR_UPSTREAMS_3_PASWORD is no setting: did you mean MIRROR_UPSTREAMS_3_PASSWORD?',
    'environment MIRROR_LOGLEVL is no setting: did you mean MIRROR_LOG_LEVEL?',
    'environment MIRROR_QUX is no setting',
    'environment MIRROR_UPSTREAMS_999_URL is no setting: did you mean MIRROR_UPSTREAMS_0_URL?',
  ])
})

test('a wrong value names the variable', async (t) => {
  const environment = {
    MIRROR_LIMITS_STALL: '1 hour',
    MIRROR_UPSTREAMS: '[{name: ghcr.io, urll: x}, {url: "http://x"}]',
    MIRROR_LIMITS_RETRIES: 'x',
    MIRROR_LIMITSRETRIES: '1',
  }
  assert.deepEqual(await errorsOf(t, environment), [
    'environment MIRROR_LIMITSRETRIES and MIRROR_LIMITS_RETRIES both set limits.retries: keep one',
    'environment MIRROR_UPSTREAMS: unknown key "upstreams.0.urll": did you mean "url"?',
    `environment MIRROR_UPSTREAMS: upstreams.1.name: expected a registry's host such as ghcr.io or localhost:5001; got nothing`,
    'environment MIRROR_LIMITS_STALL: expected a duration such as 6h; got "1 hour"',
  ])
})

test('what Kubernetes and Docker inject for services is no mistake, and reserved names are free', async (t) => {
  const environment = {
    MIRROR_SERVICE_HOST: '10.0.0.1',
    MIRROR_SERVICE_PORT: '5000',
    MIRROR_SERVICE_PORT_HTTP: '5000',
    MIRROR_PORT: 'tcp://10.0.0.1:5000',
    MIRROR_PORT_5000_TCP: 'tcp://10.0.0.1:5000',
    MIRROR_PORT_5000_TCP_PROTO: 'tcp',
    MIRROR_PORT_5000_TCP_PORT: '5000',
    MIRROR_PORT_5000_TCP_ADDR: '10.0.0.1',
    MIRROR_NAME: '/web/mirror',
    MIRROR_UI_SERVICE_HOST: '10.0.0.2',
    MIRROR_UI_PORT: 'tcp://10.0.0.2:80',
    MIRROR_UI_PORT_80_TCP: 'tcp://10.0.0.2:80',
    MIRROR_URL: 'http://mirror',
    MIRROR_TOKEN: 'x',
    OTHER_THING: 'y',
  }
  const { warnings } = await load(t, '', { environment })
  assert.deepEqual(warnings, [])
  assert.deepEqual(await errorsOf(t, { MIRROR_SERVER_PORT: 'x' }), [
    'environment MIRROR_SERVER_PORT is no setting',
  ])
})

test('variables of registry:2 are taken over with a warning that names ours', async (t) => {
  const environment = {
    REGISTRY_HTTP_ADDR: 'localhost:8080',
    REGISTRY_PROXY_REMOTEURL: 'https://registry-1.docker.io',
    REGISTRY_PROXY_USERNAME: 'ann',
    REGISTRY_PROXY_PASSWORD: 'canary',
  }
  const { config, warnings, origins } = await load(t, '', { environment })
  assert.deepEqual(config.server.listen, [{ host: 'localhost', port: 8080 }])
  const [hub, ...others] = config.upstreams
  assert.deepEqual([hub?.name, hub?.username, hub?.password, others], ['docker.io', 'ann', 'canary', []])
  assert.deepEqual(hub?.realms, ['https://auth.docker.io'])
  assert.equal(origins.get('upstreams.0.url')?.where, 'REGISTRY_PROXY_REMOTEURL')
  assert.deepEqual(
    warnings.map(({ message }) => message.split(': write ')[1]),
    [
      'server.listen or MIRROR_SERVER_LISTEN',
      'upstreams[0].url or MIRROR_UPSTREAMS_0_URL',
      'upstreams[0].username or MIRROR_UPSTREAMS_0_USERNAME',
      'upstreams[0].passwordFile or MIRROR_UPSTREAMS_0_PASSWORD_FILE',
    ],
  )
  assert.ok(!JSON.stringify(warnings).includes('canary'))
})

test('variables of registry:2 name other registries by their host, and give way to ours', async (t) => {
  const names = {
    'https://ghcr.io': 'ghcr.io',
    'http://campus:5000': 'campus:5000',
    'http://registry': 'docker.io',
  }
  for (const [url, name] of Object.entries(names)) {
    const { config } = await load(t, '', { environment: { REGISTRY_PROXY_REMOTEURL: url } })
    assert.deepEqual([config.upstreams[0]?.name, config.upstreams[0]?.url], [name, url])
  }
  const { config, warnings } = await load(t, '', {
    environment: {
      REGISTRY_PROXY_REMOTEURL: 'https://ghcr.io',
      REGISTRY_PROXY_USERNAME: 'ann',
      REGISTRY_PROXY_PASSWORD: 'x',
      MIRROR_UPSTREAMS: '[{name: quay.io}]',
    },
  })
  assert.deepEqual(config.upstreams, [{ name: 'quay.io', url: 'https://quay.io', realms: [] }])
  assert.deepEqual(
    warnings.map(({ message }) => message),
    ['REMOTEURL', 'USERNAME', 'PASSWORD'].map(
      (name) => `REGISTRY_PROXY_${name} has no effect, because MIRROR_UPSTREAMS is set`,
    ),
  )
  assert.match(
    (await errorsOf(t, { REGISTRY_PROXY_REMOTEURL: 'hub' }))[0] ?? '',
    /^environment REGISTRY_PROXY_REMOTEURL: upstreams\.0\.url: expected/,
  )
})

test('compose.yml passes on every variable of the file .env beside it, where there is one', async () => {
  const text = await readFile(join(import.meta.dirname, '../../compose.yml'), 'utf8')
  const { larder } = parse(text).services
  assert.deepEqual(larder.env_file, [{ path: '.env', required: false }])
  assert.equal(larder.environment, undefined)
})
