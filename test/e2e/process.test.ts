import assert from 'node:assert/strict'
import { chown, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { atOnceMs } from '../support/at-once.ts'
import { finish } from '../support/child-process.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { larder, sourceEntry, startLarder } from './support/larder-process.ts'
import { scratchFolder } from './support/scratch-folder.ts'

test('it starts without any upstream: /v2/ answers, an unknown name fails at once', {
  timeout: 30_000,
}, async () => {
  await using hub = await startDockerHub()
  await hub.stop()
  await using mirror = await startLarder({ upstreams: [{ name: 'docker.io', url: hub.url }] })
  const base = await fetch(`${mirror.url}/v2/`)
  assert.equal(base.status, 200)
  assert.equal(await base.text(), '{}')
  assert.equal(base.headers.get('content-type'), 'application/json; charset=utf-8')
  assert.equal(base.headers.get('content-length'), '2')
  assert.equal(base.headers.get('docker-distribution-api-version'), 'registry/2.0')
  assert.equal(base.headers.get('x-content-type-options'), 'nosniff')
  const startedAt = performance.now()
  const unknown = await fetch(`${mirror.url}/v2/library/app/manifests/latest`)
  assert.ok(performance.now() - startedAt < atOnceMs)
  assert.equal(unknown.status, 503)
  const { errors } = (await unknown.json()) as { errors: { code: string; message: string }[] }
  assert.match(errors[0]?.message ?? '', /^docker\.io: .*cannot be reached/)
})

test('it tells the person who starts it where it listens and what to do next', {
  timeout: 30_000,
}, async () => {
  await using scratch = await scratchFolder()
  await using mirror = await startLarder({ directory: scratch.path })
  assert.match(mirror.stderr, new RegExp(`data +${scratch.path}`))
  assert.match(mirror.stderr, new RegExp(`"registry-mirrors":\\["http://[^"]+:${mirror.port}"\\]`))
  assert.match(mirror.stderr, new RegExp(`docker pull 127\\.0\\.0\\.1:${mirror.port}/`))
})

test('a second process on the same folder refuses and names the first one', {
  timeout: 30_000,
}, async () => {
  await using scratch = await scratchFolder()
  await using mirror = await startLarder({ directory: scratch.path })
  const second = await larder(['serve', '--listen', '127.0.0.1:0', '--data', scratch.path])
  assert.equal(second.code, 11)
  assert.match(second.stderr, new RegExp(`${scratch.path} is in use by process \\d+ on `))
  assert.equal((await fetch(`${mirror.url}/readyz`)).status, 200)
})

test('a port that is taken: it says so, and what to do', { timeout: 30_000 }, async () => {
  await using scratch = await scratchFolder()
  await using mirror = await startLarder()
  const second = await larder(['serve', '--listen', mirror.host, '--data', scratch.path])
  assert.equal(second.code, 11)
  assert.match(second.stderr, new RegExp(`in use.*127\\.0\\.0\\.1:${mirror.port}`))
  assert.match(second.stderr, /Another program listens there/)
})

test('a data folder that it may not write to: it names the folder, and says what to do', {
  timeout: 30_000,
}, async () => {
  await using scratch = await scratchFolder()
  const folder = join(scratch.path, 'data')
  await mkdir(folder, { mode: 0o555 })
  const serve = [sourceEntry, 'serve', '--listen', '127.0.0.1:0', '--data', folder]
  // As in a container with a mounted folder of somebody else's. Root may write anywhere unless it gives that up.
  const asAnybody = [['setpriv', '--bounding-set=-dac_override']] as const
  const by = process.getuid?.() === 0 ? asAnybody : []
  const { code, stderr } = await finish('node', serve, { by, timeoutMs: 20_000 })
  assert.match(stderr, new RegExp(folder))
  assert.match(stderr, /a folder that this user may write to/)
  assert.equal(code, 8)
})

test('a file of another user in the data folder: it is named, and who it belongs to', {
  timeout: 30_000,
}, async (t) => {
  if (process.getuid?.() !== 0) return t.skip('only root can give files away')
  await using scratch = await scratchFolder()
  const lock = join(scratch.path, 'lock')
  await writeFile(lock, '', { mode: 0o644 })
  await chown(lock, 65_534, 65_534)
  const serve = [sourceEntry, 'serve', '--listen', '127.0.0.1:0', '--data', scratch.path]
  const by = [['setpriv', '--bounding-set=-dac_override']] as const
  const { code, stderr } = await finish('node', serve, { by, timeoutMs: 20_000 })
  assert.match(stderr, new RegExp(`${lock} belongs to user 65534, and this is user 0`))
  assert.equal(code, 8)
})

test('an invalid configuration: every mistake with its place', { timeout: 30_000 }, async () => {
  await using scratch = await scratchFolder()
  const config = join(scratch.path, 'mirror.yml')
  await writeFile(config, 'server:\n  lisen: ":5000"\ncache:\n  revalidate: soon\n')
  const { code, stdout, stderr } = await larder(['serve', '--config', config])
  assert.equal(code, 3)
  assert.equal(stdout, '')
  assert.match(stderr, /mirror\.yml:2:3.*lisen.*listen/)
  assert.match(stderr, /mirror\.yml:4:15.*soon/)
  const fromEnvironment = await larder(['serve'], { MIRROR_SERVER_LISEN: ':5000' })
  assert.equal(fromEnvironment.code, 3)
  assert.match(fromEnvironment.stderr, /MIRROR_SERVER_LISTEN/)
})

test('help, version, and wrong usage', { timeout: 30_000 }, async () => {
  const packageFile = new URL('../../package.json', import.meta.url)
  const { version } = JSON.parse(await readFile(packageFile, 'utf8'))
  for (const parameters of [['version'], ['--version']]) {
    assert.deepEqual(await larder(parameters), { code: 0, stdout: `${version}\n`, stderr: '' })
  }
  const help = await larder(['--help'])
  assert.equal(help.code, 0)
  assert.match(help.stdout, /Usage: larder [\s\S]*serve[\s\S]*config[\s\S]*version/)
  const wrong = await larder(['serve', '--no-such-option'])
  assert.equal(wrong.code, 2)
  assert.match(wrong.stderr, /--no-such-option/)
})
