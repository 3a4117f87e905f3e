import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Command, CommanderError } from 'commander'
import { configCommand } from '../../src/cli/config.ts'
import { loadConfig } from '../../src/config/load.ts'
import { configFolder } from '../config/config-folder.ts'
import { collected } from '../support/collected.ts'

interface Result {
  readonly out: string
  readonly error: string
  readonly code: number
}

async function run(
  workingDirectory: string,
  args: string[],
  environment: NodeJS.ProcessEnv = {},
): Promise<Result> {
  const [out, error] = [collected(), collected()]
  let code = 0
  const command = configCommand({
    stdout: out.stream,
    stderr: error.stream,
    environment,
    workingDirectory,
    setExitCode: (given) => {
      code = given
    },
  })
  try {
    await new Command('larder').addCommand(command).parseAsync(['config', ...args], { from: 'user' })
  } catch (thrown) {
    if (!(thrown instanceof CommanderError)) throw thrown
    code = thrown.exitCode === 0 ? 0 : 2
  }
  return { out: out.text(), error: error.text(), code }
}

async function runIn(
  t: TestContext,
  text: string,
  args: string[],
  environment: NodeJS.ProcessEnv = {},
): Promise<Result> {
  return run(await configFolder(t, { 'mirror.yml': text }), args, environment)
}

const broken = `# a mirror
cache:
  maxsize: 50GB
  revalidate: "6 hours"
upstreams:
  - name: docker.io
    username: ann
    password: canary
`

test('check prints every problem in columns, then the count, and is 3', async (t) => {
  const { out, error, code } = await runIn(t, broken, ['check'], { MIRROR_CACH_MAX_SIZE: '1' })
  assert.equal(
    out,
    `mirror.yml:3:3   error  unknown key "cache.maxsize": did you mean "maxSize"?
mirror.yml:4:15  error  cache.revalidate: expected a duration such as 6h; got "6 hours"
mirror.yml:8:5   warn   upstreams.0.password in the file: prefer \${VARIABLE} or passwordFile
environment      error  MIRROR_CACH_MAX_SIZE is no setting: did you mean MIRROR_CACHE_MAX_SIZE?
3 errors, 1 warning
`,
  )
  assert.deepEqual([error, code], ['', 3])
})

test('check --json is one document', async (t) => {
  const { out, code } = await runIn(t, broken, ['check', '--json'])
  const document = JSON.parse(out)
  assert.deepEqual(
    [document.schema, document.file, document.errors, document.warnings],
    ['larder.config-check/v1', null, 2, 1],
  )
  assert.deepEqual(document.problems[0], {
    where: 'mirror.yml:3:3',
    severity: 'error',
    message: 'unknown key "cache.maxsize": did you mean "maxSize"?',
  })
  assert.equal(code, 3)
})

test('a good configuration is 0 and says what was read', async (t) => {
  const { out, code } = await runIn(t, 'cache: {revalidate: 1m}', ['check', '--strict'], {
    MIRROR_LOG_LEVEL: 'warn',
  })
  assert.match(out, /^ok: .*mirror\.yml \(36 defaults, 1 from file, 1 from environment\)\n$/)
  assert.equal(code, 0)
  const empty = await configFolder(t)
  const none = await run(empty, ['check'])
  assert.deepEqual(
    [none.out, none.code],
    [
      `ok: no configuration file (38 defaults, 0 from file, 0 from environment)
looked for ${empty}/mirror.yml, /etc/larder/mirror.yml
`,
      0,
    ],
  )
})

test('warnings are 0, and 12 with --strict', async (t) => {
  const text = 'local: {push: users}'
  const line =
    'mirror.yml:1:15  warn   local.push: nobody can push or delete: there are no users without auth.htpasswd\n1 warning\n'
  assert.deepEqual(await runIn(t, text, ['check']), { out: line, error: '', code: 0 })
  assert.deepEqual(await runIn(t, text, ['check', '--strict']), { out: line, error: '', code: 12 })
  assert.equal((await runIn(t, 'x: 1', ['check', '--strict'])).code, 3)
})

test('a named file that is missing is 3, wrong usage 2', async (t) => {
  const folder = await configFolder(t)
  const missing = await run(folder, ['check', '-c', 'gone.yml'])
  assert.deepEqual(missing, {
    out: 'gone.yml  error  no such file (named by --config)\n1 error\n',
    error: '',
    code: 3,
  })
  for (const args of [['check', '--jsn'], ['chek'], ['check', 'file.yml'], ['check', '-c'], []]) {
    const { out, error, code } = await run(folder, args)
    assert.deepEqual([out, code], ['', 2], args.join(' '))
    assert.notEqual(error, '')
  }
  assert.equal((await run(folder, ['--help'])).code, 0)
})

test('keys that hold control characters do not reach the terminal', async (t) => {
  const { out } = await runIn(t, '"a\\u001b[2J\\u202e": 1\n', ['check'])
  assert.equal(out, 'mirror.yml:1:1  error  unknown key "a\\u001b[2J\\u202e"\n1 error\n')
})

const full = `server: {listen: [":1", "unix:/s"]}
cache:
  revalidate: never
  serveStale: forever
limits: {rate: 8Mbit/s}
upstreams:
  - name: docker.io
    username: ann
    password: \${SECRET}
    proxy: http://ann:\${SECRET}@proxy.lan
`

test('show prints what is in force, the origin of each value, and no secret', async (t) => {
  const { out, code, error } = await runIn(t, full, ['show'], { SECRET: 'canary', MIRROR_LIMITS_STALL: '90' })
  assert.ok(!out.includes('canary'), out)
  assert.deepEqual([code, error], [0, ''])
  for (const line of [
    '  listen: [:1, unix:/s] # mirror.yml:1:10',
    '  revalidate: never # mirror.yml:3:3',
    '  serveStale: forever # mirror.yml:4:3',
    '  staleAfter: 2s # default',
    '  rate: 1MB/s # mirror.yml:5:10',
    '  push: private-networks # default',
    '  stall: 1m30s # MIRROR_LIMITS_STALL (environment)',
    '    url: https://registry-1.docker.io # default',
    '    password: (set) # mirror.yml:9:5',
    '    proxy: http://(set)@proxy.lan # mirror.yml:10:5',
  ]) {
    assert.ok(out.split('\n').includes(line), `${line} is not in\n${out}`)
  }
})

test('without a file, show and check --json tell where it was looked for', async (t) => {
  const folder = await configFolder(t)
  const searched = [`${folder}/mirror.yml`, '/home/ann/.config/larder/mirror.yml', '/etc/larder/mirror.yml']
  const environment = { HOME: '/home/ann' }
  const { out } = await run(folder, ['show'], environment)
  assert.equal(out.split('\n')[0], `# no configuration file: looked for ${searched.join(', ')}`)
  for (const command of ['show', 'check']) {
    assert.deepEqual(JSON.parse((await run(folder, [command, '--json'], environment)).out).searched, searched)
  }
})

test('show --json has the values and the origins apart', async (t) => {
  const { out } = await runIn(t, full, ['show', '--json'], { SECRET: 'canary' })
  assert.ok(!out.includes('canary'))
  const { schema, config, origins } = JSON.parse(out)
  assert.equal(schema, 'larder.config/v1')
  assert.equal(config.limits.rate, '1MB/s')
  assert.deepEqual(origins['limits.rate'], { source: 'file', where: 'mirror.yml:5:10' })
})

test('what show prints is a configuration of the same meaning', async (t) => {
  const text = `${full.replaceAll(/ {4}(?:username|password|proxy).*\n/g, '')}    realms: [a.io]\n  - {name: "localhost:5001", url: "http://x:1"}\n`
  const folder = await configFolder(t, { 'mirror.yml': text })
  const { out } = await run(folder, ['show'])
  const again = await configFolder(t, { 'mirror.yml': out })
  const options = { environment: {}, workingDirectory: folder }
  const [first, second] = [
    await loadConfig(options),
    await loadConfig({ ...options, workingDirectory: again }),
  ]
  assert.deepEqual(second.config, first.config)
})

test('who may push is shown also where nobody has set it', async (t) => {
  const folder = await configFolder(t, { 'mirror.yml': 'auth: {htpasswd: users}\n', users: '' })
  const { out } = await run(folder, ['show'])
  assert.match(out, /^ {2}push: users # default$/m)
  await writeFile(join(folder, 'mirror.yml'), 'auth: {htpasswd: users}\nlocal: {push: anyone}\n')
  assert.match((await run(folder, ['show'])).out, /^ {2}push: anyone # mirror\.yml:2:9$/m)
})

test('show of a wrong configuration prints the problems to stderr and is 3', async (t) => {
  const { out, error, code } = await runIn(t, 'log: {level: loud}', ['show'])
  assert.deepEqual([out, code], ['', 3])
  assert.match(error, /^mirror\.yml:1:14 {2}error {2}log\.level: expected one of/)
})

test('schema prints mirror.schema.json', async (t) => {
  const committed = await readFile(resolve(import.meta.dirname, '../../mirror.schema.json'), 'utf8')
  assert.equal((await run(await configFolder(t), ['schema'])).out, committed)
})

test('env lists variables that exist', async (t) => {
  const folder = await configFolder(t)
  const { out } = await run(folder, ['env'])
  const lines = out.split('\n')
  assert.ok(
    lines.some((line) => /^MIRROR_CACHE_REVALIDATE +5m +How long a tag is trusted/.test(line)),
    out,
  )
  const names = lines.map((line) => line.split(' ')[0] ?? '').filter((name) => name.startsWith('MIRROR_'))
  assert.ok(names.length > 28)
  // Empty variables set nothing, and only known ones may be there.
  const environment = Object.fromEntries(names.map((name) => [name, '']))
  assert.equal((await run(join(folder), ['check'], environment)).code, 0)
})
