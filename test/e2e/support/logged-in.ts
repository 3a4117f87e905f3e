import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { pull } from '../../support/client.ts'
import { send } from '../../support/push.ts'
import type { LarderProcess } from './larder-process.ts'
import type { User } from './logins.ts'
import { failed, succeeded } from './pushed-life.ts'
import type { PusherKind } from './pushers.ts'
import { ownImage } from './sample-images.ts'

const noLogin = /pushing to app needs a login: log in to this mirror first/

/** A registry with users, as one program meets it: `known` is one of them. Everybody pulls, who is logged in pushes. */
export async function logsIn(
  t: TestContext,
  kind: PusherKind,
  larder: LarderProcess,
  known: User,
): Promise<void> {
  await using pusher = await kind.start(larder.host, ownImage())
  const isHere = async (tag: string) =>
    (await send('HEAD', `${larder.url}/v2/app/manifests/${tag}`)).status === 200

  const isRefused = async (name: string, reason: RegExp) => {
    const said = failed(await pusher.push(name))
    if (!kind.hidesReasons) assert.match(said, reason)
    assert.equal(await isHere(name.replace('app:', '')), false)
  }

  await t.test('a push without a login is refused with a sentence', () => isRefused('app:0.1.0', noLogin))

  for (const [what, user, password] of [
    ['a wrong password', known.user, `${known.password}-wrong`],
    ['a user that there is not', 'nobody', known.password],
  ] as const) {
    await t.test(what, async () => {
      const login = await pusher.login(user, password)
      if (kind.believesLogins) succeeded(login)
      else assert.match(failed(login), /unauthorized|invalid username/)
      await isRefused('app:0.1.0', kind.believesLogins ? /password is wrong/ : noLogin)
      await pusher.logout()
    })
  }

  await t.test('with the login it pushes, and adds a tag', async () => {
    succeeded(await pusher.login(known.user, known.password))
    succeeded(await pusher.push('app:0.1.0'))
    succeeded(await pusher.push('app:0.2.0'))
    succeeded(await pusher.pull('app:0.1.0'))
    if (pusher.remove) succeeded(await pusher.remove('app:0.2.0'))
    if (kind.removes === 'manifest') succeeded(await pusher.push('app:0.1.0'))
  })

  await t.test('logged out it pulls, and does not push', async () => {
    succeeded(await pusher.logout())
    succeeded(await pusher.pull('app:0.1.0'))
    await isRefused('app:0.3.0', noLogin)
    assert.equal((await pull(`${larder.url}/v2/app/tags/list`)).status, 200)
  })
  assert.deepEqual(pusher.attempts, [])
}
