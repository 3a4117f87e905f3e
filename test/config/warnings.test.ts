/**
 * What a configuration may say, and hardly means. Thought of: web servers that would be everybody, as one network, as
 * halves and quarters, as IPv4 inside IPv6, and the largest that somebody has; patterns of names that lead to an upstream,
 * by its own name and another one of Docker Hub's, and those that only look like it; users who may push, and none.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { load } from './config-folder.ts'

async function warned(t: TestContext, text: string): Promise<string[]> {
  return (await load(t, text)).warnings.map(({ where, severity, message }) => {
    assert.equal(severity, 'warning')
    return `${where.replace(/^.*mirror\.yml:/, '')} ${message}`
  })
}

test('web servers that are everybody', async (t) => {
  for (const network of [
    ...['0.0.0.0/0', '::/0', '0.0.0.0/1', '128.0.0.0/1', '192.0.0.0/2', '8.0.0.0/7', '1.2.3.4/0'],
    ...['::/1', '8000::/1', '2000::/3', '::ffff:0:0/96', '::ffff:128.0.0.0/97'],
  ]) {
    const [warning = '', ...more] = await warned(t, `server:\n  trustProxy: [10.0.0.2, "${network}"]\n`)
    assert.match(warning, /^2:26 server\.trustProxy\.1: .*is more than the web servers.*may push/, network)
    assert.ok(warning.includes(network))
    assert.deepEqual(more, [])
  }
  const good = ['10.0.0.0/8', 'fc00::/7', '127.0.0.0/8', '::1', '127.0.0.1', 'unix', '::ffff:10.0.0.0/104']
  assert.deepEqual(await warned(t, `server: {trustProxy: ${JSON.stringify(good)}}`), [])
})

test('names that can never be pushed, because they lead to an upstream', async (t) => {
  const upstreams =
    'upstreams: [{name: docker.io}, {name: ghcr.io}, {name: team, url: "https://team.test"}]\n'
  const patterns = (list: readonly string[]) => `${upstreams}local: {repositories: ${JSON.stringify(list)}}\n`
  for (const pattern of [
    'docker.io/**',
    'docker.io/*',
    'ghcr.io/owner/app',
    'index.docker.io/**',
    'team/**',
  ]) {
    const [warning = '', ...more] = await warned(t, patterns(['*', pattern]))
    const [name] = pattern.split('/', 1)
    assert.match(warning, /^2:28 local\.repositories\.1: /, pattern)
    assert.ok(warning.includes(`${pattern} is for nothing: ${name}/... is mirrored from `), warning)
    assert.deepEqual(more, [])
  }
  const good = ['docker.io', '*', '**', '*/**', 'docker.*/**', 'quay.io/**', 'local/docker.io/**', 'teams/**']
  assert.deepEqual(await warned(t, patterns(good)), [])
  assert.match((await warned(t, 'local: {repositories: ["docker.io/**"]}'))[0] ?? '', /is for nothing/)
  const other =
    'upstreams: [{name: ghcr.io}]\nlocal: {repositories: ["docker.io/**", "index.docker.io/**"]}\n'
  assert.deepEqual(await warned(t, other), [], 'nobody has these names')
})

test('users who may push, and none', async (t) => {
  assert.deepEqual(await warned(t, 'local: {push: users}'), [
    '1:15 local.push: nobody can push or delete: there are no users without auth.htpasswd',
  ])
})
