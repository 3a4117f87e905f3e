/**
 * Logins as clients make them. Thought of: `/v2/` with and without users, with a token, a login, a wrong one; tokens by
 * GET and by a form, for anyone, for a user, for nothing, with wrong passwords, for several repositories and names of every kind; what a token is good
 * for and what not; Docker Hub's logins on pulls, by password and by refresh token; users who come and go while it runs;
 * that no password, token or foreign name is anywhere afterwards.
 */
import assert from 'node:assert/strict'
import { appendFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { buildImage } from '../support/images.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { type Answered, pushImage, type SendOptions, send } from '../support/push.ts'
import { until } from '../support/settle.ts'
import { basic, userLine, usersFile } from '../support/users.ts'

const image = buildImage({ seed: 'app' })
const ann = basic('ann', 'canary-secret')

async function withUsers(t: TestContext, config: Record<string, unknown> = {}) {
  const htpasswd = await usersFile(t, { ann: 'canary-secret', bob: 'canary-other' })
  const mirror = await startMirror({
    upstream: 'http://127.0.0.1:9',
    config: { 'auth.htpasswd': htpasswd, ...config },
    usersSettleMs: 20,
  })
  t.after(() => mirror[Symbol.asyncDispose]())
  return { mirror, htpasswd }
}

type Given = { status: number; token: string; scope: string; message: string | undefined; answered: Answered }

async function askToken(
  { url }: TestMirror,
  scopes: readonly string[],
  headers: SendOptions['headers'] = {},
): Promise<Given> {
  const query = scopes.map((scope) => `&scope=${encodeURIComponent(scope)}`).join('')
  return given(await send('GET', `${url}/token?service=larder&account=canary-name${query}`, { headers }))
}

async function postToken({ url }: TestMirror, form: Record<string, string>): Promise<Given> {
  const body = Buffer.from(new URLSearchParams({ service: 'larder', client_id: 'x', ...form }).toString())
  const headers = { 'content-type': 'application/x-www-form-urlencoded', 'content-length': body.length }
  return given(await send('POST', `${url}/token`, { headers, body }))
}

function given(answered: Answered): Given {
  const { status, text, message } = answered
  const {
    token = '',
    access_token,
    scope = '',
    expires_in,
    issued_at,
  } = status === 200 ? JSON.parse(text) : {}
  if (status === 200) {
    assert.equal(token, access_token)
    assert.ok(expires_in >= 60)
    assert.ok(Math.abs(Date.parse(issued_at) - Date.now()) < 60_000)
    assert.ok(!text.includes('refresh_token'))
    assert.equal(answered.headers['cache-control'], 'no-store')
  } else assert.ok(message)
  return { status, token, scope, message, answered }
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const begin = ({ url }: TestMirror, name: string, headers: SendOptions['headers'] = {}) =>
  send('POST', `${url}/v2/${name}/blobs/uploads/`, { headers })

test('/v2/: open while there are no users, then a challenge until a token or a login comes', async (t) => {
  await using open = await startMirror({ upstream: 'http://127.0.0.1:9' })
  for (const headers of [{}, ann, bearer('x')])
    assert.deepEqual(
      [
        (await send('GET', `${open.url}/v2/`, { headers })).status,
        (await begin(open, 'app', headers)).status,
      ],
      [200, 202],
      'a login is not looked at where there are no users',
    )
  const { mirror } = await withUsers(t)
  const ask = (headers: SendOptions['headers'] = {}, method = 'GET') =>
    send(method, `${mirror.url}/v2/`, { headers })
  const refused = await ask()
  assert.deepEqual([refused.status, refused.code], [401, 'UNAUTHORIZED'])
  assert.equal(refused.headers['www-authenticate'], `Bearer realm="${mirror.url}/token",service="larder"`)
  assert.equal((await ask({}, 'HEAD')).status, 401)
  assert.equal((await ask(ann)).status, 200)
  assert.equal((await ask(basic('ann', 'wrong'))).status, 401)
  assert.equal((await ask(basic('nobody', 'canary-secret'))).status, 401)
  const bad = await ask(bearer('nonsense'))
  assert.match(bad.headers['www-authenticate'] ?? '', /error="invalid_token"/)
  for (const { token } of [await askToken(mirror, []), await askToken(mirror, [], ann)])
    assert.equal((await ask(bearer(token))).status, 200)
  for (const headers of [
    { authorization: 'Basic Og==' },
    { authorization: 'Digest x' },
    { authorization: '' },
  ])
    assert.equal((await ask(headers)).status, 401)
})

test('pulls are open; pushes and deletes need the login, by Basic or by a token for them', async (t) => {
  const { mirror } = await withUsers(t)
  const refused = await begin(mirror, 'app')
  assert.deepEqual([refused.status, refused.code], [401, 'UNAUTHORIZED'])
  assert.match(refused.message ?? '', /app needs a login.*docker login/)
  const challenge = `Bearer realm="${mirror.url}/token",service="larder",scope="repository:app:pull,push"`
  assert.equal(refused.headers['www-authenticate'], challenge)
  assert.equal((await begin(mirror, 'app', ann)).status, 202)
  for (const odd of ['a%22,error=%22b', 'a%0D%0Ab', 'a%5Cb', 'a"b']) {
    const { status, headers } = await begin(mirror, odd)
    assert.ok(status === 400 || status === 401, `${odd} ${status}`)
    const [, scope] = /scope="([^"]*)"/.exec(headers['www-authenticate'] ?? '') ?? []
    assert.equal(scope, undefined, odd)
  }
  const old = await begin(mirror, 'app', bearer('x'))
  assert.equal(old.headers['www-authenticate'], `${challenge},error="invalid_token"`)
  const empty = await begin(mirror, 'app', { authorization: 'Basic Og==' })
  assert.equal(empty.message, refused.message, 'podman sends an empty login for none')
  assert.equal((await begin(mirror, 'app', basic('ann', 'wrong'))).status, 401)
  assert.equal((await begin(mirror, 'app', basic('nobody', 'x'))).status, 401)
  const { token, scope } = await askToken(mirror, ['repository:app:pull,push'], ann)
  assert.equal(scope, 'repository:app:pull,push')
  assert.equal((await begin(mirror, 'app', bearer(token))).status, 202)
  const other = await begin(mirror, 'apple', bearer(token))
  assert.equal(other.status, 401)
  assert.match(
    other.headers['www-authenticate'] ?? '',
    /scope="repository:apple:pull,push",error="insufficient_scope"/,
  )
  const deleted = await send('DELETE', `${mirror.url}/v2/app/manifests/v1`, { headers: bearer(token) })
  if (deleted.status !== 405) {
    assert.equal(deleted.status, 401, 'a token to push with is none to delete with')
    assert.match(deleted.headers['www-authenticate'] ?? '', /scope="repository:app:pull,push,delete"/)
  }
  const anonymous = await askToken(mirror, ['repository:app:pull'])
  assert.equal((await begin(mirror, 'app', bearer(anonymous.token))).status, 401)
  assert.equal((await send('GET', `${mirror.url}/v2/app/tags/list`)).status, 503, 'its upstream is asked')
})

test('tokens by GET and by a form: who gets one, and who does not', async (t) => {
  const { mirror } = await withUsers(t)
  const wrong = basic('ann', 'wrong')
  const hub = basic('canary-hubuser', 'canary-hubpassword')
  const pull = 'repository:library/alpine:pull'
  const push = 'repository:app:push,pull'
  const cases: readonly (readonly [readonly string[], SendOptions['headers'], number, string])[] = [
    [[], {}, 200, ''],
    [[], ann, 200, ''],
    [[], wrong, 401, ''],
    [[], hub, 401, ''],
    [[pull], {}, 200, pull],
    [[pull], wrong, 200, pull],
    [[pull], hub, 200, pull],
    [[pull], ann, 200, pull],
    [[push], {}, 401, ''],
    [[push], wrong, 401, ''],
    [[push], hub, 401, ''],
    [[push], ann, 200, 'repository:app:pull,push'],
    [[push, pull], ann, 200, `repository:app:pull,push ${pull}`],
    [[`${push} ${pull}`], ann, 200, `repository:app:pull,push ${pull}`],
    [['repository:app:*'], ann, 200, 'repository:app:pull,push,delete'],
    [['repository:app:delete'], {}, 401, ''],
    [['repository:app:pull,push', 'repository:app:delete'], ann, 200, 'repository:app:pull,push,delete'],
    [['repository:ghcr.io:5000/a/b:pull'], {}, 200, 'repository:ghcr.io:5000/a/b:pull'],
    [['repository(plugin):app:pull'], {}, 200, 'repository:app:pull'],
    [['registry:catalog:*'], {}, 200, ''],
    [['registry:catalog:*'], ann, 200, ''],
    ...['', ' ', 'registry:catalog:*', 'nonsense', 'repository:app:', 'repository:app:fly'].flatMap((scope) =>
      [wrong, hub].map((headers) => [[scope], headers, 401, ''] as const),
    ),
    [[''], {}, 200, ''],
    [[''], ann, 200, ''],
    [['', pull], hub, 200, pull],
    [['', push], wrong, 401, ''],
    [['repository:app:fly,pull'], {}, 200, 'repository:app:pull'],
    [['nonsense', 'repository:', 'repository:a b:push', '::'], {}, 200, ''],
    [[pull], { authorization: 'Basic Og==' }, 200, pull],
    [[push], { authorization: 'Basic Og==' }, 401, ''],
  ]
  for (const [scopes, headers, status, scope] of cases) {
    const answer = await askToken(mirror, scopes, headers)
    assert.deepEqual([answer.status, answer.scope], [status, scope], `${scopes} ${JSON.stringify(headers)}`)
    if (status === 401) assert.match(answer.answered.headers['www-authenticate'] ?? '', /^Basic realm=/)
  }
  const login = { grant_type: 'password', username: 'ann', password: 'canary-secret' }
  const forms: readonly (readonly [Record<string, string>, number, string])[] = [
    [login, 200, ''],
    [{ ...login, scope: `${push} ${pull}` }, 200, `repository:app:pull,push ${pull}`],
    [{ ...login, password: 'wrong', scope: push }, 401, ''],
    [{ ...login, password: 'wrong', scope: pull }, 200, pull],
    [{ ...login, password: 'wrong' }, 401, ''],
    [{ ...login, password: 'wrong', scope: '' }, 401, ''],
    [{ ...login, password: 'wrong', scope: 'registry:catalog:*' }, 401, ''],
    [{ grant_type: 'refresh_token', refresh_token: 'canary-refresh', scope: pull }, 200, pull],
    [{ grant_type: 'refresh_token', refresh_token: 'canary-refresh', scope: push }, 401, ''],
    [{ grant_type: 'refresh_token', refresh_token: 'canary-refresh' }, 401, ''],
    [{ grant_type: 'password', scope: push }, 401, ''],
    [{ grant_type: 'authorization_code', code: 'canary-code', scope: pull }, 400, ''],
    [{ scope: pull }, 400, ''],
  ]
  for (const [form, status, scope] of forms) {
    const answer = await postToken(mirror, form)
    assert.deepEqual([answer.status, answer.scope], [status, scope], JSON.stringify(form))
  }
  const many = Array.from({ length: 51 }, (_, n) => `repository:r${n}:pull`)
  assert.equal((await askToken(mirror, many)).status, 400)
  const large = await postToken(mirror, { ...login, scope: 'x'.repeat(20_000) })
  assert.equal(large.status, 413)
})

test('no password, token or foreign name is anywhere afterwards; who has logged in is told', async (t) => {
  const { mirror } = await withUsers(t, { 'log.level': 'trace' })
  const hub = basic('canary-hubuser', 'canary-hubpassword')
  const { token } = await askToken(mirror, ['repository:app:pull,push'], ann)
  const answers = [
    await askToken(mirror, ['repository:library/alpine:pull'], hub),
    await askToken(mirror, [], hub),
    await askToken(mirror, ['repository:app:push'], basic('ann', 'canary-typo')),
    await postToken(mirror, {
      grant_type: 'refresh_token',
      refresh_token: 'canary-refresh',
      scope: 'repository:a:push',
    }),
    await postToken(mirror, { grant_type: 'password', username: 'canary-hubuser', password: 'canary-p' }),
  ].map(({ answered }) => answered.text)
  for (const headers of [hub, ann, bearer(token), basic('ann', 'canary-typo'), bearer('canary-token')]) {
    await send('GET', `${mirror.url}/v2/app/tags/list`, { headers })
    await send('GET', `${mirror.url}/v2/`, { headers })
    answers.push((await begin(mirror, 'app', headers)).text)
  }
  const metrics = await (await fetch(`${mirror.url}/metrics`)).text()
  for (const text of [mirror.log(), metrics, ...answers]) {
    assert.doesNotMatch(text, /canary|Y2FuYXJ5/)
    assert.ok(!text.includes(token))
  }
  const lines = mirror.events('request').filter(({ method, status }) => method === 'POST' && status === 202)
  assert.deepEqual(
    lines.map(({ user }) => user),
    ['ann', 'ann'],
  )
  const tokens = mirror.events('request').filter(({ url }) => `${url}`.startsWith('/token'))
  assert.deepEqual(
    tokens.map(({ status, user }) => `${status} ${user}`),
    ['200 ann', '200 undefined', '401 undefined', '401 undefined', '401 undefined', '401 undefined'],
  )
  const asked = mirror.events('request').filter(({ url }) => `${url}`.startsWith('/v2/app/tags'))
  assert.ok(asked.length === 5 && asked.every(({ user }) => user === undefined), 'a pull has no user')
})

test('a login that comes with a pull is not looked at', async (t) => {
  const { mirror } = await withUsers(t)
  const before = await mirror.metric('larder_logins_total')
  for (const headers of [basic('hubuser', 'x'), basic('ann', 'wrong'), bearer('x')]) {
    assert.equal((await send('GET', `${mirror.url}/v2/app/manifests/v1`, { headers })).status, 503)
    await send('HEAD', `${mirror.url}/v2/app/blobs/${image.config.digest}`, { headers })
    await askToken(mirror, ['repository:app:pull'], headers)
  }
  assert.equal(await mirror.metric('larder_logins_total'), before)
  await begin(mirror, 'app', basic('ann', 'wrong'))
  assert.equal(await mirror.metric('larder_logins_total'), before + 1)
})

test('users come and go while it runs', async (t) => {
  const { mirror, htpasswd } = await withUsers(t)
  assert.equal((await begin(mirror, 'app', basic('cid', 'new'))).status, 401)
  await appendFile(htpasswd, userLine('cid', 'new'))
  assert.equal((await begin(mirror, 'app', basic('cid', 'new'))).status, 202, 'at once')
  const { token } = await askToken(mirror, ['repository:app:push'], ann)
  assert.equal((await begin(mirror, 'app', bearer(token))).status, 202)
  await writeFile(htpasswd, userLine('ann', 'another') + userLine('bob', 'x') + userLine('cid', 'x'))
  await until(async () => (await begin(mirror, 'app', bearer(token))).status === 401)
  assert.equal((await begin(mirror, 'app', ann)).status, 401, 'the old password')
  assert.equal((await begin(mirror, 'app', basic('ann', 'another'))).status, 202)
  await writeFile(htpasswd, '')
  await until(() => mirror.events().some(({ reason }) => `${reason}`.startsWith('it holds no user')))
  assert.equal((await begin(mirror, 'app')).status, 401, 'an emptied file opens nothing')
  assert.equal((await begin(mirror, 'app', basic('ann', 'another'))).status, 202)
})

test('a file of users without a user lets nobody push, and /v2/ is open until somebody is in it', async (t) => {
  const htpasswd = await usersFile(t, {})
  await using mirror = await startMirror({
    upstream: 'http://127.0.0.1:9',
    config: { 'auth.htpasswd': htpasswd },
  })
  const refused = await begin(mirror, 'app')
  assert.deepEqual([refused.status, refused.code], [403, 'DENIED'])
  assert.match(refused.message ?? '', /none yet.*auth\.htpasswd/)
  assert.equal((await send('GET', `${mirror.url}/v2/`)).status, 200)
  await writeFile(htpasswd, userLine('ann', 'canary-secret'))
  await until(async () => (await send('GET', `${mirror.url}/v2/`)).status === 401)
  assert.equal((await begin(mirror, 'app', ann)).status, 202)
})

test('an address that may push needs no login, and gets a token all the same', async (t) => {
  const { mirror } = await withUsers(t, { 'local.push': 'private-networks' })
  assert.equal((await begin(mirror, 'app')).status, 202)
  const { token, status, scope } = await askToken(mirror, ['repository:app:push,pull'])
  assert.deepEqual([status, scope], [200, 'repository:app:pull,push'])
  assert.equal((await begin(mirror, 'app', bearer(token))).status, 202)
  assert.equal((await begin(mirror, 'app', basic('ann', 'wrong'))).status, 401, 'a wrong login is one')
})

test('pushing that is off is off for users', async (t) => {
  const { mirror } = await withUsers(t, { 'local.push': 'off' })
  const { token, scope } = await askToken(mirror, ['repository:app:push,pull'], ann)
  assert.equal(scope, 'repository:app:pull')
  for (const headers of [ann, bearer(token), {}])
    assert.deepEqual((await begin(mirror, 'app', headers)).code, 'DENIED')
})

test('a page in a browser pushes nothing with the login that the browser has', async (t) => {
  const { mirror } = await withUsers(t)
  for (const page of [{ origin: mirror.url }, { origin: 'null' }, { 'sec-fetch-site': 'cross-site' }])
    assert.equal((await begin(mirror, 'app', { ...ann, ...page })).status, 403)
})

test('an image is pushed by a user, who is kept as the mover of its tag, and pulled by anybody', async (t) => {
  const { mirror } = await withUsers(t)
  const { token } = await askToken(mirror, ['repository:app:push,pull'], ann)
  await pushImage(`${mirror.url}/v2/app`, 'v1', image, bearer(token))
  assert.equal((await send('GET', `${mirror.url}/v2/app/manifests/v1`)).status, 200)
  using catalog = new DatabaseSync(join(mirror.directory, 'catalog.db'), { readOnly: true })
  assert.deepEqual(
    catalog
      .prepare('SELECT name, mover FROM tag_move')
      .all()
      .map(({ name, mover }) => `${name} by ${mover}`),
    ['v1 by ann'],
  )
})
