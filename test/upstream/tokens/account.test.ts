/**
 * A user name and a password that the upstream does not take: loud, and pulls go on anonymously.
 *
 * Neighbours that were thought of: a wrong password at a token service (401), one that answers 403 or 400 to it, one
 * that gives an anonymous token (200), a 403 about one repository alone, an account that is right but shut out, a
 * password that expires while tokens are good, many first pulls at once, a service that is down or slow at the first
 * try, a renewed password at the upstream, Basic with and without pulls for everybody, an unknown user, no account.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Logger } from 'pino'
import { pino } from 'pino'
import type { Tag } from '../../../src/oci/reference.ts'
import type { RepositoryName } from '../../../src/oci/repository-name.ts'
import { startDockerHub } from '../../support/docker-hub.ts'
import { buildImage } from '../../support/images.ts'
import { until } from '../../support/settle.ts'
import { clientOf, failsWith, listen, patient } from '../fixtures.ts'
import { scriptedRegistry } from '../scripted-registry.ts'

const app = 'library/app' as RepositoryName
const latest = 'latest' as Tag
const image = buildImage()
const accounts = { operator: 'right' }
const right = { username: 'operator', password: 'right' }
const wrong = { username: 'operator', password: 'wrong' }

function logInto(lines: { level: number; msg: string }[]): Logger {
  return pino({ base: null }, { write: (line: string) => void lines.push(JSON.parse(line)) })
}

async function startHub(t: TestContext, options: Parameters<typeof startDockerHub>[0] = {}) {
  const hub = await startDockerHub({ accounts, ...options })
  t.after(() => hub.close())
  hub.addImage(app, 'latest', image)
  return hub
}

/** Puts the monotonic clock forward. */
function clock(t: TestContext): { forward(ms: number): void } {
  const real = performance.now.bind(performance)
  let jumped = 0
  t.mock.method(performance, 'now', () => real() + jumped)
  return {
    forward(ms) {
      jumped += ms
    },
  }
}

for (const credentials of [wrong, { username: 'nobody', password: 'right' }]) {
  test(`${credentials.username} with "${credentials.password}": one error line that says what to do, and pulls go on`, async (t) => {
    const hub = await startHub(t)
    const lines: { level: number; msg: string }[] = []
    const client = clientOf(t, hub.url, { credentials, logger: logInto(lines) })
    for (let count = 0; count < 5; count += 1) {
      hub.expireTokens()
      assert.equal((await client.manifest(app, latest)).claimedDigest, image.manifest.digest)
    }
    const errors = lines.filter(({ level }) => level >= 50)
    assert.equal(errors.length, 1)
    assert.match(
      errors[0]?.msg ?? '',
      /^docker\.io refuses the configured user name and password \(its token service answered 401\): going on anonymously\. Correct .* in 15 min$/,
    )
    assert.ok(!JSON.stringify(lines).includes('"right"') && !JSON.stringify(lines).includes('wrong'))
    assert.equal(client.isAccountRefused, true)
    assert.equal(hub.find({ listener: 'token' }).filter(({ headers }) => headers.authorization).length, 1)
  })
}

test('fifty first pulls at once try a wrong password once', async (t) => {
  const hub = await startHub(t)
  const names = Array.from({ length: 50 }, (_, index) => `library/app${index}` as RepositoryName)
  for (const name of names) hub.addImage(name, 'latest', image)
  const client = clientOf(t, hub.url, { credentials: wrong, ...patient })
  const pulls = names.map((name) => client.manifest(name, latest))
  await Promise.all([
    ...pulls,
    until(() => hub.count({ method: 'HEAD', status: 200 }) === 50, { timeoutMs: 60_000 }).then(() =>
      client.check(),
    ),
  ])
  assert.equal(hub.count({ listener: 'token', status: 401 }), 1)
})

test('a refused account is tried again after 15, 30, 60 and 60 minutes, with a line each; a new password is noticed', async (t) => {
  const hub = await startHub(t)
  const { forward } = clock(t)
  const lines: { level: number; msg: string }[] = []
  const client = clientOf(t, hub.url, { credentials: wrong, logger: logInto(lines) })
  const tries = () => hub.count({ listener: 'token', status: 401 })
  await client.manifest(app, latest)
  let expected = 1
  for (const minutes of [15, 30, 60, 60]) {
    forward(minutes * 60_000 - 60_000)
    await client.manifest(app, latest)
    assert.equal(tries(), expected, `before ${minutes} minutes are over`)
    forward(61_000)
    await client.manifest(app, latest)
    expected += 1
    assert.equal(tries(), expected)
  }
  assert.equal(lines.filter(({ level }) => level >= 50).length, expected)
  Object.assign(accounts, { operator: 'wrong' })
  t.after(() => Object.assign(accounts, { operator: 'right' }))
  forward(61 * 60_000)
  await client.manifest(app, latest)
  assert.equal(client.isAccountRefused, false)
  assert.match(lines.at(-1)?.msg ?? '', /takes the configured user name and password again/)
})

test('a password that expires is noticed when the next token is due', async (t) => {
  const hub = await startHub(t)
  const client = clientOf(t, hub.url, { credentials: right })
  await client.manifest(app, latest)
  assert.equal(client.isAccountRefused, false)
  Object.assign(accounts, { operator: 'renewed' })
  t.after(() => Object.assign(accounts, { operator: 'right' }))
  await client.manifest(app, latest)
  assert.equal(client.isAccountRefused, false, 'its token is good')
  hub.expireTokens()
  await client.manifest(app, latest)
  assert.equal(client.isAccountRefused, true)
})

for (const status of [400, 403]) {
  test(`a token service that answers ${status} to a wrong password, and gives anyone a token`, async (t) => {
    const lines: { level: number; msg: string }[] = []
    const { registry } = await scriptedRegistry(t, {
      tokenHandler: ({ headers }, response) =>
        response
          .writeHead(headers.authorization === undefined ? 200 : status)
          .end(JSON.stringify({ token: 'anyone' })),
    })
    const client = clientOf(t, registry.url, { credentials: wrong, logger: logInto(lines) })
    await client.manifest(app, latest)
    assert.match(
      lines[0]?.msg ?? '',
      new RegExp(`its token service answered ${status}\\): going on anonymously`),
    )
  })

  test(`an account that is shut out of one repository (${status}) is not taken for a wrong one`, async (t) => {
    const lines: { level: number; msg: string }[] = []
    const { registry } = await scriptedRegistry(t, {
      tokenHandler: ({ headers, url = '' }, response) => {
        const isShut = headers.authorization !== undefined && url.includes('closed')
        response.writeHead(isShut ? status : 200).end(JSON.stringify({ token: isShut ? '' : 'token' }))
      },
    })
    const client = clientOf(t, registry.url, { credentials: right, logger: logInto(lines) })
    await client.manifest(app, latest)
    await client.manifest('library/closed' as RepositoryName, latest)
    await client.manifest(app, latest)
    assert.equal(client.isAccountRefused, false)
    assert.deepEqual(lines, [])
  })
}

test('a token service that gives anyone a token, whatever the password, is none the wiser; pulls go on', async (t) => {
  const { registry } = await scriptedRegistry(t)
  await clientOf(t, registry.url, { credentials: wrong }).manifest(app, latest)
})

test('a token service that fails at the first try is no refusal, and the account is tried again at once', async (t) => {
  const hub = await startHub(t)
  const client = clientOf(t, hub.url, { credentials: right })
  await client.manifestDigest(app, latest)
  hub.fault({ listener: 'token' }, { status: 500 }, { times: 1 })
  await client.manifest(app, latest)
  assert.equal(client.isAccountRefused, false)
  const byAccount = hub
    .find({ listener: 'token', status: 200 })
    .filter(({ headers }) => headers.authorization)
  assert.equal(byAccount.length, 1)
})

test('an account that is right and refused by nobody is used for manifests alone', async (t) => {
  const hub = await startHub(t, { quota: 100 })
  hub.setRemaining(0)
  const client = clientOf(t, hub.url, { credentials: right })
  assert.equal((await client.manifest(app, latest)).claimedDigest, image.manifest.digest)
  assert.equal(client.rateLimit?.remaining, 99, 'the quota of the account is what is told')
})

test('an account that has no quota left: anyone has one of their own', async (t) => {
  const hub = await startHub(t, { quota: 100 })
  hub.setRemaining(0, 'operator')
  const client = clientOf(t, hub.url, { credentials: right })
  for (let count = 0; count < 3; count += 1) {
    assert.equal((await client.manifest(app, latest)).claimedDigest, image.manifest.digest)
  }
  assert.equal(hub.count({ status: 429 }), 1, 'it is not asked again while we are told to wait')
  hub.setRemaining(0)
  await failsWith(client.manifest(app, latest), 'RATE_LIMITED')
})

test('a token service that gives nobody a token without a scope: the check at the start says nothing about pulls', async (t) => {
  const { registry } = await scriptedRegistry(t, {
    tokenHandler: ({ url = '' }, response) => {
      const hasScope = url.includes('scope=')
      const answer = () => response.writeHead(hasScope ? 200 : 400).end(JSON.stringify({ token: 'token' }))
      // The check is still under way when the pulls want the account.
      setTimeout(answer, hasScope ? 0 : 100)
    },
  })
  const client = clientOf(t, registry.url, { credentials: right })
  const names = ['library/a', 'library/b'] as RepositoryName[]
  const [check] = await Promise.all([client.check(), ...names.map((name) => client.manifest(name, latest))])
  assert.equal(check.sentence, 'answers')
  assert.equal(client.isAccountRefused, false)
})

const checks: readonly [
  what: string,
  options: Parameters<typeof startDockerHub>[0],
  credentials: typeof right,
  sentence: RegExp,
][] = [
  [
    'a wrong password at the token service',
    {},
    wrong,
    /^answers, and refuses the configured user name and password, going on anonymously$/,
  ],
  ['a right password', {}, right, /^answers$/],
  ['a wrong password with Basic', { auth: 'basic' }, wrong, /^answers, and refuses the configured user name/],
  ['a right password with Basic', { auth: 'basic' }, right, /^answers$/],
  ['an account where none is wanted', { auth: 'none' }, wrong, /^answers$/],
]

for (const [what, options, credentials, sentence] of checks) {
  test(`at the start: ${what}`, async (t) => {
    const hub = await startHub(t, options)
    const client = clientOf(t, hub.url, { credentials })
    assert.match((await client.check()).sentence, sentence)
    const tries = hub.requests.filter(({ headers }) => headers.authorization?.startsWith('Basic')).length
    await client.check()
    const again = hub.requests.filter(({ headers }) => headers.authorization?.startsWith('Basic')).length
    if (credentials === wrong) assert.equal(again, tries, 'not tried again')
  })
}

test('Basic without pulls for everybody and a wrong password: the message says so, instead of "private"', async (t) => {
  const hub = await startHub(t, { auth: 'basic' })
  const client = clientOf(t, hub.url, { credentials: wrong })
  await client.check()
  await failsWith(
    client.manifest(app, latest),
    'UNAUTHORIZED',
    /gives library\/app to nobody without a login, and refuses the configured user name and password/,
  )
})

test("Basic where everybody may pull: the account is in nobody's way", async (t) => {
  const registry = await listen(t, ({ headers }, response) => {
    if (headers.authorization !== undefined)
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' })
    response.end('{}')
  })
  await clientOf(t, registry.url, { credentials: wrong }).manifest(app, latest)
  assert.ok(registry.requests.every(({ headers }) => headers.authorization === undefined))
})
