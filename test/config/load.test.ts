// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration has placeholders of its own
import assert from 'node:assert/strict'
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { loadConfig } from '../../src/config/load.ts'
import { settingAt } from '../../src/config/settings.ts'
import { selfSigned } from '../upstream/fixtures.ts'
import { configFolder, load, problemsOf } from './config-folder.ts'

test('without a file everything has its default', async (t) => {
  const workingDirectory = await configFolder(t)
  const { config, file, warnings, origins } = await loadConfig({ environment: {}, workingDirectory })
  assert.deepEqual(config, {
    server: {
      listen: [{ host: undefined, port: 5000 }],
      tls: undefined,
      shutdownGrace: 30_000,
      trustProxy: [],
    },
    storage: { dir: join(workingDirectory, 'data') },
    cache: {
      maxSize: 'auto',
      minFree: 'auto',
      keepAtLeast: 24 * 3_600_000,
      scrub: 30 * 24 * 3_600_000,
      revalidate: 300_000,
      serveStale: 30 * 86_400_000,
      staleAfter: 2000,
      negative: 60_000,
      servePrivate: 86_400_000,
      readAhead: 1_048_576,
      finish: 0,
      wanted: true,
    },
    upstreams: [
      { name: 'docker.io', url: 'https://registry-1.docker.io', realms: ['https://auth.docker.io'] },
    ],
    limits: {
      downloads: 3,
      connections: 8,
      rate: undefined,
      stall: 30_000,
      patience: 5000,
      retries: 8,
      reserve: 10,
      perClient: { connections: 1000, transfers: 500, fills: 250, stall: 300_000 },
    },
    local: {
      repositories: ['*', 'local/**'],
      delete: true,
      uploadTtl: 86_400_000,
      uploadSpace: 50_000_000_000,
      collectAfter: 86_400_000,
      push: 'private-networks',
    },
    auth: {},
    log: { level: 'info', format: 'auto' },
  })
  assert.deepEqual([file, warnings], [undefined, []])
  assert.ok([...origins.values()].every(({ source }) => source === 'default'))
})

test('a file of empty sections is the same as no file', async (t) => {
  const workingDirectory = await configFolder(t)
  const none = await loadConfig({ environment: {}, workingDirectory })
  const text =
    'server:\n  tls:\n  listen:\nstorage:\ncache: ~\nupstreams:\nlimits: {rate: }\nlocal:\nauth:\nlog:\n'
  await writeFile(join(workingDirectory, 'mirror.yml'), text)
  const empty = await loadConfig({ environment: {}, workingDirectory })
  assert.deepEqual(empty.config, none.config)
  assert.deepEqual(empty.origins, none.origins)
})

test('flag before environment before file before default, and each says where it was', async (t) => {
  const text = 'cache:\n  revalidate: 1m\n  negative: 2m\n  staleAfter: 3s\n'
  const { config, origins } = await load(t, text, {
    environment: { MIRROR_CACHE_NEGATIVE: '4m', MIRROR_CACHE_STALE_AFTER: '5s' },
    overrides: { 'cache.staleAfter': '6s', 'cache.minFree': undefined },
  })
  const { revalidate, negative, staleAfter } = config.cache
  assert.deepEqual(
    { revalidate, negative, staleAfter },
    { revalidate: 60_000, negative: 240_000, staleAfter: 6000 },
  )
  assert.deepEqual(origins.get('cache.revalidate'), { source: 'file', where: 'mirror.yml:2:3' })
  assert.deepEqual(origins.get('cache.negative'), { source: 'environment', where: 'MIRROR_CACHE_NEGATIVE' })
  assert.deepEqual(origins.get('cache.staleAfter'), { source: 'flag', where: undefined })
  assert.deepEqual(origins.get('cache.minFree'), { source: 'default', where: undefined })
})

test('a wrong flag is a problem of the command line, an unknown one a mistake of ours', async (t) => {
  assert.deepEqual(await problemsOf(load(t, '', { overrides: { 'server.listen': 'x' } })), [
    {
      where: 'command line',
      severity: 'error',
      message:
        'server.listen: expected an address such as ":5000", "127.0.0.1:5000" or "unix:/run/larder.sock"; got "x"',
    },
  ])
  await assert.rejects(load(t, '', { overrides: { 'server.port': 1 } }), TypeError)
})

test('the file is looked for in five places, the first wins', async (t) => {
  const folder = await configFolder(t, {
    'named.yml': 'limits: {retries: 1}',
    'variable.yml': 'limits: {retries: 2}',
    'here/mirror.yml': 'limits: {retries: 3}',
    'xdg/larder/mirror.yml': 'limits: {retries: 4}',
    'home/.config/larder/mirror.yml': 'limits: {retries: 5}',
  })
  await mkdir(join(folder, 'elsewhere'))
  const environment = {
    MIRROR_CONFIG: '../variable.yml',
    XDG_CONFIG_HOME: join(folder, 'xdg'),
    HOME: join(folder, 'home'),
  }
  const { MIRROR_CONFIG: _, ...unnamed } = environment
  const found = async (options: { file?: string; environment: NodeJS.ProcessEnv; in: string }) => {
    const loaded = await loadConfig({ ...options, workingDirectory: join(folder, options.in) })
    return [loaded.config.limits.retries, loaded.file?.slice(folder.length)]
  }
  assert.deepEqual(await found({ file: '../named.yml', environment, in: 'here' }), [1, '/named.yml'])
  assert.deepEqual(await found({ environment, in: 'here' }), [2, '/variable.yml'])
  assert.deepEqual(await found({ environment: unnamed, in: 'here' }), [3, '/here/mirror.yml'])
  assert.deepEqual(await found({ environment: unnamed, in: 'elsewhere' }), [4, '/xdg/larder/mirror.yml'])
  const homeOnly = { HOME: environment.HOME }
  assert.deepEqual(await found({ environment: homeOnly, in: 'elsewhere' }), [
    5,
    '/home/.config/larder/mirror.yml',
  ])
})

test('a named file that cannot be read is an error', async (t) => {
  const workingDirectory = await configFolder(t, { 'huge.yml': '#'.repeat(2 ** 21) })
  const message = async (file: string | undefined, environment: NodeJS.ProcessEnv = {}) => {
    const [problem] = await problemsOf(loadConfig({ environment, workingDirectory, ...(file && { file }) }))
    return `${problem?.where}: ${problem?.message}`
  }
  assert.equal(await message('gone.yml'), 'gone.yml: no such file (named by --config)')
  assert.equal(
    await message(undefined, { MIRROR_CONFIG: 'x/y' }),
    'x/y: no such file (named by MIRROR_CONFIG)',
  )
  assert.match(await message('.'), /this is a folder, not a file \(named by --config\)$/)
  assert.equal(await message('huge.yml'), 'huge.yml: larger than 1 MiB: this is no configuration')
})

test('relative paths belong to the folder of their file, those of variables and flags to the working directory', async (t) => {
  const { cert, key } = await selfSigned('DNS:localhost')
  const folder = await configFolder(t, {
    'etc/mirror.yml': 'server: {tls: {certificate: tls/a.pem}}\nupstreams: [{name: ghcr.io, ca: ca.pem}]\n',
    'etc/tls/a.pem': cert,
    'etc/ca.pem': cert,
    'key.pem': key,
  })
  const options = {
    file: 'etc/mirror.yml',
    workingDirectory: folder,
    environment: { MIRROR_SERVER_TLS_KEY: 'key.pem', MIRROR_UPSTREAMS_1: '' },
  }
  const problems = await problemsOf(loadConfig(options))
  assert.match(problems[0]?.message ?? '', /^MIRROR_UPSTREAMS_1 is no setting/)
  const { MIRROR_UPSTREAMS_1: _, ...environment } = options.environment
  const { config } = await loadConfig({ ...options, environment })
  assert.deepEqual(config.server.tls, {
    certificate: join(folder, 'etc/tls/a.pem'),
    key: join(folder, 'key.pem'),
  })
  assert.equal(config.upstreams[0]?.ca, join(folder, 'etc/ca.pem'))
  assert.equal(config.storage.dir, join(folder, 'etc/data'))
  const flagged = await loadConfig({ ...options, environment, overrides: { 'storage.dir': 'here' } })
  assert.equal(flagged.config.storage.dir, join(folder, 'here'))
})

test('every form of a value arrives as a number', async (t) => {
  const text = `x-slow: &slow
  stall: 1m
server:
  listen: [":80", "[::1]:81", unix:/run/l.sock, host.lan:82]
cache: {maxSize: 80%, minFree: 1073741824, revalidate: never, serveStale: forever, negative: 0}
limits: {<<: *slow, rate: 8Mbit/s, retries: 0}
upstreams:
  - {name: "localhost:5001", url: "http://127.0.0.1:5001/", realms: [http://a.lan/token, b.lan]}
  - name: ghcr.io
`
  const { config, origins } = await load(t, text)
  assert.deepEqual(config.server.listen, [
    { host: undefined, port: 80 },
    { host: '::1', port: 81 },
    { path: '/run/l.sock' },
    { host: 'host.lan', port: 82 },
  ])
  const { maxSize, minFree, revalidate, serveStale, negative } = config.cache
  assert.deepEqual([maxSize, minFree, negative], [{ percent: 80 }, 2 ** 30, 0])
  assert.deepEqual([revalidate, serveStale], [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY])
  assert.deepEqual([config.limits.rate, config.limits.stall, config.limits.retries], [1e6, 60_000, 0])
  assert.deepEqual(config.upstreams, [
    { name: 'localhost:5001', url: 'http://127.0.0.1:5001', realms: ['http://a.lan', 'b.lan'] },
    { name: 'ghcr.io', url: 'https://ghcr.io', realms: [] },
  ])
  assert.deepEqual(origins.get('limits.stall'), { source: 'file', where: 'mirror.yml:2:3' })
})

test('of several maps that are merged the first wins, and the own keys win over all', async (t) => {
  const text = `x-a: &a {stall: 1m, retries: 1}
x-b: &b {stall: 2m, retries: 2, downloads: 2}
limits: {retries: 3, <<: [*a, *b]}
`
  const { stall, retries, downloads } = (await load(t, text)).config.limits
  assert.deepEqual({ stall, retries, downloads }, { stall: 60_000, retries: 3, downloads: 2 })
  const emptied = await load(t, 'x-a: &a {stall: 1m, retries: 1}\nlimits: {stall: ~, <<: *a}\n')
  assert.deepEqual([emptied.config.limits.stall, emptied.config.limits.retries], [30_000, 1])
})

test('serveStale: never is no age at all', async (t) => {
  assert.equal((await load(t, 'cache: {serveStale: never}')).config.cache.serveStale, 0)
})

test('a url that ends in /v2/ is the same as without', async (t) => {
  for (const [given, taken] of [
    ['https://ghcr.io/v2/', 'https://ghcr.io'],
    ['https://ghcr.io/v2', 'https://ghcr.io'],
    ['https://ghcr.io//v2//', 'https://ghcr.io'],
    ['https://nexus.lan/repository/docker/v2/', 'https://nexus.lan/repository/docker'],
    ['https://ghcr.io/v2/owner', 'https://ghcr.io/v2/owner'],
    ['https://ghcr.io/v20', 'https://ghcr.io/v20'],
  ]) {
    const { config } = await load(t, `upstreams: [{name: ghcr.io, url: "${given}"}]`)
    assert.equal(config.upstreams[0]?.url, taken)
  }
  const hub = await load(t, 'upstreams: [{name: docker.io, url: "https://registry-1.docker.io/v2/"}]')
  assert.deepEqual(hub.config.upstreams[0]?.realms, ['https://auth.docker.io'])
})

test('docker.io keeps its realm beside others, and loses it with another url', async (t) => {
  const more = await load(t, 'upstreams: [{name: docker.io, realms: [https://a.io/token]}]')
  assert.deepEqual(more.config.upstreams[0]?.realms, ['https://auth.docker.io', 'https://a.io'])
  const chained = await load(t, 'upstreams: [{name: docker.io, url: "http://campus:5000"}]')
  assert.deepEqual(chained.config.upstreams, [{ name: 'docker.io', url: 'http://campus:5000', realms: [] }])
})

test('texts of the file take variables, defaults and files; what they hold is not searched again', async (t) => {
  const folder = await configFolder(t, {
    'secret.txt': 'pa ${NOT} #1\r\n',
    'mirror.yml': `storage: {dir: "\${ROOT}/x-$\${y}"}
limits: {retries: "\${RETRIES}", stall: "\${STALL:-1m}", rate: "\${EMPTY}"}
local: {repositories: "\${NAMES}"}
upstreams:
  - name: docker.io
    username: "\${USERNAME}"
    password: \${file:secret.txt}
`,
  })
  const environment = { ROOT: '/r', RETRIES: '5', EMPTY: '', NAMES: '[a, b/**]', USERNAME: '0123' }
  const { config } = await loadConfig({ environment, workingDirectory: folder })
  assert.equal(config.storage.dir, '/r/x-${y}')
  assert.deepEqual([config.limits.retries, config.limits.stall, config.limits.rate], [5, 60_000, undefined])
  assert.deepEqual(config.local.repositories, ['a', 'b/**'])
  assert.deepEqual([config.upstreams[0]?.username, config.upstreams[0]?.password], ['0123', 'pa ${NOT} #1'])
})

test('passwordFile is read, and one that everybody may read is a warning', async (t) => {
  const text = 'upstreams:\n  - name: docker.io\n    username: ann\n    passwordFile: hub\n'
  const folder = await configFolder(t, { 'mirror.yml': text, hub: 'secret\n' })
  const options = { environment: {}, workingDirectory: folder }
  const closed = await loadConfig(options)
  assert.equal(closed.config.upstreams[0]?.password, 'secret')
  assert.deepEqual(closed.warnings, [])
  await chmod(join(folder, 'hub'), 0o644)
  const { warnings } = await loadConfig(options)
  assert.deepEqual(
    warnings.map(({ where, severity }) => [where, severity]),
    [['mirror.yml:4:19', 'warning']],
  )
  assert.match(warnings[0]?.message ?? '', /hub can be read by every user of this machine: .*chmod 600 it/)
  await writeFile(join(folder, 'hub'), '\n')
  assert.match((await problemsOf(loadConfig(options)))[0]?.message ?? '', /hub is empty$/)
  await writeFile(join(folder, 'mirror.yml'), text.replace('hub', 'gone'))
  const [problem] = await problemsOf(loadConfig(options))
  assert.deepEqual([problem?.where, problem?.severity], ['mirror.yml:4:19', 'error'])
  assert.match(problem?.message ?? '', /cannot read .*gone: no such file$/)
})

test('a password in the file is a warning that does not repeat it', async (t) => {
  const text = 'upstreams:\n  - name: docker.io\n    username: ann\n    password: canary\n'
  const { warnings, config } = await load(t, text)
  assert.equal(config.upstreams[0]?.password, 'canary')
  assert.deepEqual(warnings, [
    {
      where: 'mirror.yml:4:5',
      severity: 'warning',
      message: 'upstreams.0.password in the file: prefer ${VARIABLE} or passwordFile',
    },
  ])
})

test('whether to finish what was begun is a word, a map or a text, and a share in code', async (t) => {
  const never = Number.POSITIVE_INFINITY
  const cases: [string, number, string][] = [
    ['always', 0, 'always'],
    ['never', never, 'never'],
    ['{started: 50%}', 0.5, 'started: 50%'],
    ['\n    started: 50%', 0.5, 'started: 50%'],
    ['"started: 12.5 %"', 0.125, 'started: 12.5%'],
    ['"started:100%"', 1, 'started: 100%'],
    // In floating point 0.07 * 100 is more than 7.
    ['{started: 7%}', 0.07, 'started: 7%'],
    ['{started: "${SHARE}"}', 0.3, 'started: 30%'],
    ['"${FINISH}"', never, 'never'],
  ]
  const environment = { SHARE: '30%', FINISH: 'never' }
  for (const [text, share, shown] of cases) {
    const { config } = await load(t, `cache:\n  finish: ${text}\n`, { environment })
    assert.equal(config.cache.finish, share, text)
    assert.equal(settingAt(['cache', 'finish'])?.type.show?.(share), shown)
    const again = await load(t, `cache: {finish: "${shown}"}`)
    assert.equal(again.config.cache.finish, share, shown)
  }
  for (const [text, share] of [
    ['started: 25%', 0.25],
    ['{started: 25%}', 0.25],
    ['always', 0],
  ] as const) {
    const { config, origins } = await load(t, 'cache: {finish: {started: 50%}}', {
      environment: { MIRROR_CACHE_FINISH: text },
    })
    assert.equal(config.cache.finish, share, text)
    assert.equal(origins.get('cache.finish')?.where, 'MIRROR_CACHE_FINISH')
  }
})

test('nothing is read ahead where the size is 0', async (t) => {
  const { config } = await load(t, 'cache: {readAhead: 0, wanted: false}\nlimits: {reserve: 0}')
  assert.deepEqual([config.cache.readAhead, config.cache.wanted, config.limits.reserve], [0, false, 0])
})

test('what is set over is not looked at; what lies around it is', async (t) => {
  const text =
    'limits: {stall: "${NOWHERE}"}\nupstreams: [{name: a.io, username: ann, password: "${NOWHERE}"}]\n'
  const environment = { MIRROR_LIMITS_STALL: '1m', MIRROR_UPSTREAMS_0_PASSWORD: 'secret' }
  const { config, origins } = await load(t, text, { environment })
  assert.deepEqual([config.limits.stall, config.upstreams[0]?.password], [60_000, 'secret'])
  assert.deepEqual(origins.get('limits.stall'), { source: 'environment', where: 'MIRROR_LIMITS_STALL' })
  const around = { MIRROR_CACHE_NEGATIVE: '1m', MIRROR_UPSTREAMS_0_NAME: 'a.io' }
  const problems = await problemsOf(
    load(t, 'cache: ${NOWHERE}\nupstreams: ${NOWHERE}', { environment: around }),
  )
  assert.deepEqual(
    problems.map(({ where, message }) => `${where} ${message.split(' is not set')[0]}`),
    ['mirror.yml:1:8 cache: the variable NOWHERE', 'mirror.yml:2:12 upstreams: the variable NOWHERE'],
  )
})

test('what a variable in the file holds has the place of its reference', async (t) => {
  const environment = { LIST: '[{name: a.io, ca: gone}]', OTHER: '[{name: b.io}]' }
  const { origins } = await load(t, 'upstreams: ${OTHER}', { environment })
  assert.deepEqual(origins.get('upstreams.0.name'), { source: 'file', where: 'mirror.yml:1:1' })
  assert.deepEqual(origins.get('upstreams.0.url'), { source: 'default', where: undefined })
  const [problem] = await problemsOf(load(t, 'upstreams: ${LIST}', { environment }))
  assert.equal(problem?.where, 'mirror.yml:1:12')
  assert.match(problem?.message ?? '', /^upstreams\.0\.ca: cannot read .*gone: no such file$/)
})
