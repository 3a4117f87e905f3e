/**
 * Whether a blob is here, asked by those who push before they log in. Thought of: somebody who shows nothing, a token
 * that anybody is given, the login, a foreign one; a name that is pushed to, one that could be, a mirrored one; what is
 * here and what is not; no users; nobody may push.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { pushImage, send } from '../support/push.ts'
import { basic, usersFile } from '../support/users.ts'

const [own, mirrored] = [buildImage({ seed: 'own' }), buildImage({ seed: 'mirrored' })]
const ann = basic('ann', 'secret')

async function start(t: TestContext, config: Record<string, unknown>) {
  const hub = await startDockerHub()
  t.after(() => hub[Symbol.asyncDispose]())
  hub.addImage('team/app', 'v1', mirrored)
  const mirror = await startMirror({ upstream: hub.url, config })
  t.after(() => mirror[Symbol.asyncDispose]())
  const head = (name: string, digest: string, headers = {}) =>
    send('HEAD', `${mirror.url}/v2/${name}/blobs/${digest}`, { headers })
  return { mirror, head }
}

test('who shows nothing, and might push, is sent for a token that anybody gets', async (t) => {
  const users = await usersFile(t, { ann: 'secret' })
  const { mirror, head } = await start(t, { 'auth.htpasswd': users })
  await pushImage(`${mirror.url}/v2/app`, 'v1', own, ann)
  for (const [name, digest, status] of [
    ['app', own.config.digest, 200],
    ['app', mirrored.config.digest, 404],
    ['local/new', own.config.digest, 404],
  ] as const) {
    const challenged = await head(name, digest)
    assert.equal(challenged.status, 401, name)
    const [, realm = '', scope = ''] =
      /realm="(.+?)",.*scope="(.+?)"/.exec(`${challenged.headers['www-authenticate']}`) ?? []
    assert.equal(scope, `repository:${name}:pull`)
    const { token } = JSON.parse((await send('GET', `${realm}?scope=${scope}`)).text)
    for (const headers of [{ authorization: `Bearer ${token}` }, ann, basic('hub', 'canary')])
      assert.equal((await head(name, digest, headers)).status, status, `${name} ${headers.authorization}`)
  }
  assert.equal((await send('GET', `${mirror.url}/v2/app/blobs/${own.config.digest}`)).status, 200)
})

test('what is mirrored tells everybody', async (t) => {
  const users = await usersFile(t, { ann: 'secret' })
  const { mirror, head } = await start(t, { 'auth.htpasswd': users })
  assert.equal((await send('GET', `${mirror.url}/v2/team/app/manifests/v1`)).status, 200)
  assert.equal((await head('team/app', mirrored.config.digest)).status, 200)
})

test('without users, or where nobody may push, nobody is sent for a token', async (t) => {
  const open = await start(t, {})
  await pushImage(`${open.mirror.url}/v2/app`, 'v1', own)
  assert.equal((await open.head('app', own.config.digest)).status, 200)
  const users = await usersFile(t, { ann: 'secret' })
  const closed = await start(t, { 'auth.htpasswd': users, 'local.push': 'off' })
  assert.equal((await closed.head('app', own.config.digest)).status, 404)
})
