/**
 * Every route with every role: who is let in, who has to log in, and who is refused. The routes are those of the server's
 * own table; one that is new has to be given its row here. Thought of: nobody, wrong and right passwords, tokens for
 * less, for this, for another repository; where users are needed, where pushing is off, and where anyone may.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Action } from '../../src/access/policy.ts'
import { RegistryRoutes } from '../../src/http/routes/registry.ts'
import { startMirror } from '../support/mirror.ts'
import { send } from '../support/push.ts'
import { basic, usersFile } from '../support/users.ts'

const digest = `sha256:${'0'.repeat(64)}`

/** What each route lets somebody do, and where it is tried. */
const rows: Readonly<Record<string, readonly [Action, string]>> = {
  'GET base': ['pull', '/v2/'],
  'HEAD base': ['pull', '/v2/'],
  'GET manifest': ['pull', '/v2/local/app/manifests/v1'],
  'HEAD manifest': ['pull', '/v2/local/app/manifests/v1'],
  'PUT manifest': ['push', '/v2/local/app/manifests/v1'],
  'DELETE manifest': ['delete', '/v2/local/app/manifests/v1'],
  'GET blob': ['pull', `/v2/local/app/blobs/${digest}`],
  'HEAD blob': ['pull', `/v2/local/app/blobs/${digest}`],
  'DELETE blob': ['delete', `/v2/local/app/blobs/${digest}`],
  'POST uploads': ['push', '/v2/local/app/blobs/uploads/'],
  'GET upload': ['push', '/v2/local/app/blobs/uploads/none'],
  'PATCH upload': ['push', '/v2/local/app/blobs/uploads/none'],
  'PUT upload': ['push', `/v2/local/app/blobs/uploads/none?digest=${digest}`],
  'DELETE upload': ['push', '/v2/local/app/blobs/uploads/none'],
  'GET tags': ['pull', '/v2/local/app/tags/list'],
  'HEAD tags': ['pull', '/v2/local/app/tags/list'],
  'GET referrers': ['pull', `/v2/local/app/referrers/${digest}`],
  'HEAD referrers': ['pull', `/v2/local/app/referrers/${digest}`],
  'GET catalog': ['pull', '/v2/_catalog'],
  'HEAD catalog': ['pull', '/v2/_catalog'],
  'GET ping': ['pull', '/v1/_ping'],
  'HEAD ping': ['pull', '/v1/_ping'],
  'GET search': ['pull', '/v1/search?q=app'],
  'HEAD search': ['pull', '/v1/search?q=app'],
}
const ownMethods = ['GET', 'HEAD', 'POST', 'PATCH', 'PUT', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND', 'QUERY']

const routes = new RegistryRoutes({} as ConstructorParameters<typeof RegistryRoutes>[0]).all
const known = routes.map(({ method, kind, action }) => [`${method} ${kind}`, action] as const)

test('each route of the table has a row, with what it lets somebody do', () => {
  const missing = known.filter(([place]) => !(place in rows))
  assert.deepEqual(missing, [], 'a new route has to be given a row here')
  for (const [place, action] of known) assert.equal(rows[place]?.[0], action, place)
})

/** What each role may do, where the login is needed. `401`: it has to log in. */
const roles: Readonly<Record<string, readonly Action[]>> = {
  nobody: ['pull'],
  'wrong password': ['pull'],
  'unknown user': ['pull'],
  'no token': ['pull'],
  password: ['pull', 'push', 'delete'],
  'token of anyone': ['pull'],
  'token to pull': ['pull'],
  'token to push': ['pull', 'push'],
  'token to delete': ['pull', 'delete'],
  'token for all': ['pull', 'push', 'delete'],
  'token for another': ['pull'],
  'page with a password': ['pull'],
}

for (const [rule, refused] of [
  [undefined, 401],
  ['users', 401],
  ['off', 403],
  ['anyone', 202],
] as const) {
  test(`every cell, with local.push ${rule}`, async (t) => {
    const htpasswd = await usersFile(t, { ann: 'secret' })
    await using mirror = await startMirror({
      upstream: 'http://127.0.0.1:9',
      config: { 'auth.htpasswd': htpasswd, ...(rule !== undefined && { 'local.push': rule }) },
    })
    const token = async (scope: string, headers = basic('ann', 'secret')) => {
      const url = `${mirror.url}/token?scope=${encodeURIComponent(scope)}`
      const { token: text } = JSON.parse((await send('GET', url, { headers })).text)
      return { authorization: `Bearer ${text}` }
    }
    const headersOf: Record<keyof typeof roles, Readonly<Record<string, string>>> = {
      nobody: {},
      'wrong password': basic('ann', 'wrong'),
      'unknown user': basic('hub', 'secret'),
      'no token': { authorization: 'Bearer none' },
      password: basic('ann', 'secret'),
      'token of anyone': await token('repository:local/app:pull', { authorization: '' }),
      'token to pull': await token('repository:local/app:pull'),
      'token to push': await token('repository:local/app:pull,push'),
      'token to delete': await token('repository:local/app:delete'),
      'token for all': await token('repository:local/app:*'),
      'token for another': await token('repository:local/apple:*'),
      'page with a password': { ...basic('ann', 'secret'), origin: mirror.url },
    }
    for (const [place] of known) {
      const [action, path] = rows[place] ?? ['pull', '']
      for (const [role, headers] of Object.entries(headersOf)) {
        const [method = ''] = place.split(' ')
        const { status } = await send(method, mirror.url + path, { headers })
        const isIn = ![401, 403].includes(status)
        const cell = `${place} as ${role}: ${status}`
        if (place.endsWith(' base')) {
          const isWrong = ['nobody', 'wrong password', 'unknown user', 'no token'].includes(role)
          assert.equal(status, isWrong ? 401 : 200, cell)
        } else if (place === 'HEAD blob' && role === 'nobody') {
          // Whoever might push is sent for a token, which anybody is given.
          assert.equal(status, refused === 401 ? 401 : 404, cell)
        } else if (action === 'pull') assert.ok(isIn, cell)
        else if (rule === 'off') assert.equal(status, /wrong|unknown/.test(role) ? 401 : 403, cell)
        else if (role === 'page with a password') assert.equal(status, 403, cell)
        else if (/wrong|unknown/.test(role)) assert.equal(status, 401, cell)
        else if (rule === 'anyone' || roles[role]?.includes(action)) assert.ok(isIn, cell)
        else assert.equal(status, refused, cell)
      }
    }
  })
}

test('a method that is not in the table does nothing, whoever asks', async (t) => {
  const htpasswd = await usersFile(t, { ann: 'secret' })
  await using mirror = await startMirror({
    upstream: 'http://127.0.0.1:9',
    config: { 'auth.htpasswd': htpasswd },
  })
  const paths = new Map(Object.entries(rows).map(([place, [, path]]) => [place.split(' ')[1] ?? '', path]))
  for (const [kind, path] of paths)
    for (const method of ownMethods) {
      if (known.some(([place]) => place === `${method} ${kind}`)) continue
      const { status } = await send(method, mirror.url + path, { headers: basic('ann', 'secret') })
      assert.equal(status, 405, `${method} ${kind}`)
    }
})
