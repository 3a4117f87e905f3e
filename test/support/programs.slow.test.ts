// Neighbours thought of: a name that every object has (toString), a path to a program of the table, the path of this
// Node, an empty name; a program that another one starts (unshare, strace); one that is in the table but not on this
// machine; the same package imported without "node:", by import(), require() and getBuiltinModule.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { test } from 'node:test'
import { ChildServer, finish, forkNode, run, type Startable, startInBackground } from './child-process.ts'
import { compileCache } from './compile-cache.ts'
import { memoryChecks } from './memory-checks.ts'
import { goBinary, goFolder, type Launcher, meets, type ProgramName, pathOf, programs } from './programs.ts'

const project = resolve(import.meta.dirname, '../..')
const unknown = [
  'ls',
  'toString',
  '__proto__',
  '/bin/cp',
  process.execPath,
  './cp',
  '',
] as readonly Startable[]

for (const name of unknown) {
  test(`a test that starts "${name}", which is not in the table, fails`, async () => {
    const told = { message: /is not in the table of programs/ }
    await assert.rejects(finish(name, []), told)
    await assert.rejects(run(name, []), told)
    assert.throws(() => ChildServer.start(name, []), told)
    assert.throws(() => startInBackground(name, [], { output: 2 }), told)
    await assert.rejects(
      run('true', [], { by: [[name as Launcher]] }),
      /is not known as a program that starts/,
    )
    assert.throws(() => forkNode(new URL(import.meta.url), [], { beside: [name as ProgramName] }), told)
    assert.throws(() => pathOf(name), told)
  })
}

test('a program that only starts others cannot be started without naming the other one', async () => {
  await assert.rejects(run('unshare', ['--mount', 'ls']), /unshare starts another program: name that one/)
  await assert.rejects(
    run('true', [], { by: [['cp' as Launcher]] }),
    /cp is not known as a program that starts/,
  )
  await run('true', [], {
    by: [
      ['setpriv', '--no-new-privs'],
      ['setpriv', '--clear-groups'],
    ],
  })
})

test('a program of the table that this machine does not have: the test is skipped, in CI it fails', async (t) => {
  const cache = process.env.XDG_CACHE_HOME
  t.after(() => setVariable('XDG_CACHE_HOME', cache))
  process.env.XDG_CACHE_HOME = '/nowhere'
  const named = /crane \(go install github\.com\/\S+\/crane@v[\d.]+; "npm run test:programs" installs it\)/
  await assert.rejects(run('crane', []), named)
  const ci = process.env.CI
  t.after(() => setVariable('CI', ci))
  delete process.env.CI
  const skipped: unknown[] = []
  const context = { skip: (reason: string) => void skipped.push(reason) } as unknown as typeof t
  assert.equal(meets(context, { programs: ['crane'] }), false)
  assert.match(String(skipped), named)
  process.env.CI = 'true'
  assert.throws(() => meets(context, { programs: ['crane'] }), named)
  assert.equal(meets(context, { programs: ['cp'] }), true)
  assert.equal(skipped.length, 1)
})

test('what a test starts inherits a PATH, what has memory checked, what was compiled, and nothing else', async (t) => {
  const before = process.env.NODE_EXTRA_CA_CERTS
  t.after(() => setVariable('NODE_EXTRA_CA_CERTS', before))
  process.env.NODE_EXTRA_CA_CERTS = '/nowhere/ca.pem'
  const printed = await run('node', ['--print', 'JSON.stringify(process.env)'], {
    environment: { OWN: 'yes' },
  })
  const { PATH } = JSON.parse(printed)
  assert.deepEqual(JSON.parse(printed), { ...memoryChecks, ...compileCache, OWN: 'yes', PATH })
})

test('each program of Go has an exact version, and a folder that tells it', () => {
  for (const [name, program] of Object.entries(programs)) {
    if (!('go' in program)) continue
    assert.match(program.go, /^[^@]+@v\d+\.\d+\.\d+\S*$/, name)
    assert.ok(goFolder(name, program).includes(`${name}@v`), name)
  }
  assert.equal(goBinary({ go: 'example.com/module/v2/cmd/tool@v2.0.0' }), 'tool')
  assert.equal(goBinary({ go: 'example.com/tool/v2@v2.0.0' }), 'tool')
  assert.equal(goBinary({ go: 'example.com/tool@v1.0.0', tests: true }), 'tool.test')
})

test('nothing else in test/ and benchmarks/ starts a process', () => {
  const files = ['test', 'benchmarks'].flatMap((folder) =>
    readdirSync(join(project, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => /\.[cm]?[jt]s$/.test(file))
      .map((file) => join(project, folder, file)),
  )
  assert.ok(files.length > 100)
  const starters = files.filter((file) =>
    /['"`](?:node:)?(?:child_process|cluster)['"`]/.test(readFileSync(file, 'utf8')),
  )
  assert.deepEqual(
    starters.map((file) => relative(project, file)),
    ['test/support/child-process.ts'],
  )
})

function setVariable(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name]
  else process.env[name] = value
}
