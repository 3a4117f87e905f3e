/**
 * Logins that come in numbers, over real connections. Thought of: many of one address, another one meanwhile, pulls
 * meanwhile; clients that leave before their password was looked at; logins that come through a trusted web server.
 */
import assert from 'node:assert/strict'
import { appendFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { type TestContext, test } from 'node:test'
import bcrypt from 'bcrypt'
import { startMirror } from '../support/mirror.ts'
import { send } from '../support/push.ts'
import { until } from '../support/settle.ts'
import { basic, usersFile } from '../support/users.ts'

/** Ann's password takes some tens of milliseconds of a processor. */
async function slowToCheck(t: TestContext, config: Record<string, unknown> = {}) {
  const htpasswd = await usersFile(t, {})
  await appendFile(htpasswd, `ann:${bcrypt.hashSync('secret', 10)}\n`)
  const mirror = await startMirror({
    upstream: 'http://127.0.0.1:9',
    config: { 'auth.htpasswd': htpasswd, ...config },
  })
  t.after(() => mirror[Symbol.asyncDispose]())
  const logIn = (password: string, options: { localAddress?: string; headers?: Record<string, string> }) =>
    send('GET', `${mirror.url}/token`, {
      ...options,
      headers: { ...options.headers, ...basic('ann', password) },
    })
  return { mirror, logIn }
}

test('many logins of one address: some are told to wait, another address is let in, and pulls go on', async (t) => {
  const { mirror, logIn } = await slowToCheck(t)
  const many = Array.from({ length: 30 }, (_, n) => logIn(`wrong${n}`, { localAddress: '127.0.0.2' }))
  const other = await logIn('secret', { localAddress: '127.0.0.3' })
  assert.equal(other.status, 200)
  assert.equal((await send('GET', `${mirror.url}/healthz`)).status, 200)
  const answers = await Promise.all(many)
  const refused = answers.filter(({ status }) => status === 429)
  assert.ok(refused.length > 0 && refused.length < 30, `${refused.length} of 30`)
  assert.ok(answers.every(({ status }) => status === 401 || status === 429))
  for (const { headers, code } of refused)
    assert.deepEqual([headers['retry-after'], code], ['10', 'TOOMANYREQUESTS'])
  const text = await (await fetch(`${mirror.url}/metrics`)).text()
  assert.match(text, new RegExp(`larder_logins_total\\{outcome="crowded"\\} ${refused.length}\n`))
  assert.match(text, /larder_logins_total\{outcome="accepted"\} 1\n/)
})

test('behind a trusted web server each of its clients has logins of its own', async (t) => {
  const { logIn } = await slowToCheck(t, { 'server.trustProxy': ['127.0.0.1'] })
  const of = (client: number) => ({ headers: { 'x-forwarded-for': `203.0.113.${client}` } })
  const many = Array.from({ length: 20 }, (_, n) => logIn(`wrong${n}`, of(1)))
  const other = await logIn('secret', of(2))
  assert.equal(other.status, 200)
  assert.ok((await Promise.all(many)).some(({ status }) => status === 429))
})

test('the password of a client that has left is not looked at', async (t) => {
  const { compare } = bcrypt
  const held = Promise.withResolvers<void>()
  const compared: string[] = []
  t.mock.method(bcrypt, 'compare', async (password: string, hash: string) => {
    compared.push(password)
    await held.promise
    return compare(password, hash)
  })
  const { mirror } = await slowToCheck(t)
  const sockets = Array.from({ length: 6 }, (_, n) => {
    const socket = connect({ port: mirror.port, host: '127.0.0.1' })
    socket.on('error', () => {})
    const { authorization } = basic('ann', `wrong${n}`)
    socket.write(`GET /token HTTP/1.1\r\nHost: a\r\nAuthorization: ${authorization}\r\n\r\n`)
    return socket
  })
  await until(() => mirror.app.underWay.requests === 6 && compared.length === 2)
  for (const socket of sockets) socket.destroy()
  await until(() => mirror.app.underWay.requests === 0)
  held.resolve()
  assert.equal((await send('GET', `${mirror.url}/token`, { headers: basic('ann', 'secret') })).status, 200)
  // Two were being checked when they left.
  assert.deepEqual(compared.slice(2), ['secret'])
  assert.equal(await mirror.metric('larder_logins_total'), 1, 'nobody was answered but who stayed')
})
