/**
 * The file of users that a configuration names. Thought of: good, missing, a folder, with a mistake, too large, without
 * a user, readable to others; users who may push and no file of them.
 */
import assert from 'node:assert/strict'
import { chmod, chown, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { loadConfig } from '../../src/config/load.ts'
import { ConfigError } from '../../src/config/problems.ts'
import { userLine } from '../support/users.ts'
import { configFolder } from './config-folder.ts'

async function said(
  t: TestContext,
  config: string,
  users?: string,
  mode = 0o600,
  owner?: number,
): Promise<string[]> {
  const folder = await configFolder(t, { 'mirror.yml': `${config}\n` })
  if (users !== undefined) {
    await writeFile(join(folder, 'htpasswd'), users)
    await chmod(join(folder, 'htpasswd'), mode)
    if (owner !== undefined) await chown(join(folder, 'htpasswd'), owner, -1)
  }
  const problems = await loadConfig({ environment: {}, workingDirectory: folder }).then(
    ({ warnings }) => warnings,
    (error: unknown) => {
      assert.ok(error instanceof ConfigError, String(error))
      return error.problems
    },
  )
  return problems.map(({ severity, message }) => `${severity} ${message.replaceAll(`${folder}/`, '')}`)
}

const config = 'auth: {htpasswd: htpasswd}'

test('a good file, also one without a user', async (t) => {
  assert.deepEqual(await said(t, config, `# the house\n${userLine('ann', 'secret')}`), [])
  for (const nobody of ['# nobody\n', '', '\uFEFF', '\n\n'])
    assert.deepEqual(await said(t, config, nobody), [
      'warning auth.htpasswd: htpasswd holds no user yet: nobody can log in',
    ])
})

test('a file that is none refuses the start, and says which line it is', async (t) => {
  const user = userLine('ann', 'secret')
  for (const [users, problem] of [
    [undefined, /^error auth\.htpasswd: cannot read htpasswd: no such file$/],
    [`${user}bob:secret\n`, /^error auth\.htpasswd: htpasswd: line 2 \(bob\) has no bcrypt hash/],
    [user.slice(0, 40), /^error auth\.htpasswd: htpasswd: line 1 \(ann\).*cut short/],
    ['#'.repeat(1024 * 1024 + 1), /^error auth\.htpasswd: htpasswd: larger than 1 MiB$/],
  ] as const) {
    const [first = '', ...more] = await said(t, config, users)
    assert.match(first, problem)
    assert.deepEqual(more, [])
    assert.ok(!first.includes('secret'))
  }
  assert.match((await said(t, 'auth: {htpasswd: .}'))[0] ?? '', /cannot read.*folder/)
})

test('what somebody would want to know: a file that everybody reads, and users that there are none of', async (t) => {
  const [warning = ''] = await said(t, config, userLine('ann', 'secret'), 0o644)
  assert.match(warning, /^warning auth\.htpasswd: htpasswd can be read by every user.*chmod 600/)
  assert.deepEqual(await said(t, config, userLine('ann', 'secret'), 0o640), [], 'a group of its readers')
  const nobody = 'warning local.push: nobody can push or delete: there are no users without auth.htpasswd'
  assert.deepEqual(await said(t, 'local: {push: users}'), [nobody])
})

test('a file that everybody reads: what to do depends on whose it is', async (t) => {
  const start = 'warning auth.htpasswd: htpasswd can be read by every user of this machine: '
  const other =
    'give it to the user that Larder runs as and chmod 600 it, or to a group of that user and chmod 640 it'
  const owner = process.getuid?.() || 1000
  for (const [user, advice] of [
    [owner, 'chmod 600 it'],
    [owner + 1, other],
    [0, other],
  ] as const) {
    const mock = t.mock.method(process as { getuid(): number }, 'getuid', () => user)
    const warnings = await said(t, config, userLine('ann', 'secret'), 0o644, owner)
    mock.mock.restore()
    assert.deepEqual(warnings, [`${start}${advice}`], `read by ${user}`)
  }
  if (process.getuid?.() === 0)
    assert.deepEqual(await said(t, config, userLine('ann', 'secret'), 0o644, 0), [`${start}${other}`])
})
