/**
 * Tokens, and the key that they are signed with. Thought of: whose and for what; too old, not yet good, of a clock that
 * was set back; without a signature, signed by another key, with another algorithm, changed in any part, for another
 * service; of a user who is gone or has another password; a key that is missing, damaged, of another kind, readable to
 * others, left half written, in a folder that takes none.
 */
import assert from 'node:assert/strict'
import { createPrivateKey, createSecretKey, generateKeyPairSync } from 'node:crypto'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { SignJWT, UnsecuredJWT } from 'jose'
import { pino } from 'pino'
import { fingerprintOf } from '../../src/access/htpasswd.ts'
import type { Who } from '../../src/access/policy.ts'
import { formatScope, parseScopes } from '../../src/access/scopes.ts'
import { openSigningKey, type SigningKey } from '../../src/access/signing-key.ts'
import { Tokens } from '../../src/access/tokens.ts'

const hash = '$2b$10$bfyUt.vbGEken3o6kwXFDuXWI017Z/zIjtAtqR5ZJ2MYKkGw2u/8i'
const ann: Who = { kind: 'user', name: 'ann', fingerprint: fingerprintOf(hash) }
const scopes = parseScopes(['repository:app:pull,push'])

function newKey(): SigningKey {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  return { private: privateKey, public: publicKey }
}

function tokens(key = newKey()) {
  const users = new Map([['ann', hash]])
  return { key, users, tokens: new Tokens({ key, users: () => users }) }
}

test('a token says who it is, and for what', async () => {
  const { tokens: some } = tokens()
  const { text, lifetime } = await some.issue(ann, scopes)
  assert.equal(lifetime, 300)
  assert.deepEqual(await some.bearerOf(text), {
    kind: 'user',
    name: 'ann',
    scopes: [{ repository: 'app', actions: ['pull', 'push'] }],
  })
  const free = await some.issue({ kind: 'anyone' }, scopes)
  assert.deepEqual(await some.bearerOf(free.text), { kind: 'anyone' }, 'anyone has no scopes')
  assert.ok(
    !Buffer.from(text.split('.')[1] ?? '', 'base64url')
      .toString()
      .includes(hash),
  )
})

test('its time: five minutes, and a clock that is set back a little', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: Date.parse('2026-06-01T12:00:00Z') })
  const { tokens: some } = tokens()
  const { text } = await some.issue(ann, scopes)
  const isGoodAfter = async (seconds: number) => {
    t.mock.timers.setTime(Date.parse('2026-06-01T12:00:00Z') + seconds * 1000)
    return (await some.bearerOf(text)) !== undefined
  }
  assert.equal(await isGoodAfter(299), true)
  assert.equal(await isGoodAfter(400), false)
  assert.equal(await isGoodAfter(10 * 365 * 86_400), false)
  assert.equal(await isGoodAfter(-50), true)
  assert.equal(await isGoodAfter(-3600), false)
})

test('what somebody else made is none', async () => {
  const { tokens: some, key } = tokens()
  const { text } = await some.issue(ann, scopes)
  const [head = '', body = '', signature = ''] = text.split('.')
  const claims = JSON.parse(Buffer.from(body, 'base64url').toString())
  const sign = (changes: object, alg = 'EdDSA', by: unknown = key.private) =>
    new SignJWT({ ...claims, ...changes }).setProtectedHeader({ alg }).sign(by as SigningKey['private'])
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const spki = key.public.export({ type: 'spki', format: 'pem' })
  const jwk = key.public.export({ format: 'jwk' })
  const bad: Record<string, string> = {
    'another larder': (await tokens().tokens.issue(ann, scopes)).text,
    'no signature': new UnsecuredJWT(claims).encode(),
    'no algorithm': `${part({ alg: 'none' })}.${body}.`,
    'no algorithm, with the signature': `${part({ alg: 'none' })}.${body}.${signature}`,
    'the public key as a secret': await sign({}, 'HS256', createSecretKey(Buffer.from(spki))),
    'another key of its own header': await (async () => {
      const other = newKey()
      const header = { alg: 'EdDSA', jwk: other.public.export({ format: 'jwk' }) }
      return new SignJWT(claims).setProtectedHeader(header as never).sign(other.private)
    })(),
    'other actions': `${head}.${part({ ...claims, access: [{ type: 'repository', name: 'app', actions: ['delete'] }] })}.${signature}`,
    'another user': `${head}.${part({ ...claims, sub: 'bob' })}.${signature}`,
    'another issuer': await sign({ iss: 'docker.io' }),
    'another audience': await sign({ aud: 'registry.docker.io' }),
    'no end': await sign({ exp: undefined }),
    'no beginning': await sign({ nbf: undefined }),
    'no user': await sign({ sub: undefined }),
    'no access': await sign({ access: undefined }),
    'a critical extension': `${part({ alg: 'EdDSA', crit: ['x'], x: 1 })}.${body}.${signature}`,
    cut: text.slice(0, -1),
    longer: `${text}A`,
    'very long': text + 'A'.repeat(100_000),
    nothing: '',
    dots: '...',
    words: 'not a token',
    'key in place of it': JSON.stringify(jwk),
  }
  for (const [name, one] of Object.entries(bad)) assert.equal(await some.bearerOf(one), undefined, name)
  assert.ok(await some.bearerOf(await sign({})), 'signed with the key, and as it was')
})

test('a token ends with its user, and with the password', async () => {
  const { tokens: some, users } = tokens()
  const { text } = await some.issue(ann, scopes)
  users.set('ann', hash.replace('bfy', 'bfz'))
  assert.equal(await some.bearerOf(text), undefined)
  users.delete('ann')
  assert.equal(await some.bearerOf(text), undefined)
  users.set('ann', hash)
  assert.ok(await some.bearerOf(text))
})

test('a token is one of the password that was shown for it, and not of the one that the user has by now', async () => {
  const { tokens: some, users } = tokens()
  const other = hash.replace('bfy', 'bfz')
  users.set('ann', other)
  const { text } = await some.issue(ann, scopes)
  assert.equal(await some.bearerOf(text), undefined)
  const bare = await some.issue({ kind: 'user', name: 'ann' }, scopes)
  assert.equal(await some.bearerOf(bare.text), undefined, 'no password was shown')
  const after = await some.issue({ ...ann, fingerprint: fingerprintOf(other) }, scopes)
  assert.ok(await some.bearerOf(after.text))
})

async function keyFolder(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'larder-key-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const events: Record<string, unknown>[] = []
  const logger = pino({ level: 'info' }, { write: (event) => events.push(JSON.parse(event)) })
  const path = join(folder, 'token.key')
  const open = async () => (await openSigningKey(path, logger)).private.export({ format: 'jwk' }).d
  return { folder, path, events, open }
}

test('the key is made once, kept for its owner alone, and found again', async (t) => {
  const { folder, path, events, open } = await keyFolder(t)
  const first = await open()
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  assert.equal(await open(), first)
  assert.equal(createPrivateKey(await readFile(path)).asymmetricKeyType, 'ed25519')
  assert.deepEqual(await readdir(folder), ['token.key'])
  assert.deepEqual(events, [])
})

test('a key that cannot be used is replaced, which is told', async (t) => {
  const { folder, path, events, open } = await keyFolder(t)
  let last = await open()
  const whole = await readFile(path)
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  const spoils: Record<string, () => Promise<void>> = {
    empty: () => writeFile(path, ''),
    cut: () => writeFile(path, whole.subarray(0, 60)),
    zeros: () => writeFile(path, Buffer.alloc(119)),
    large: () => writeFile(path, Buffer.alloc(1_000_000, 'A')),
    'of another kind': () => writeFile(path, rsa.export({ type: 'pkcs8', format: 'pem' })),
    'readable to others': () => chmod(path, 0o640),
    'writable to others': () => chmod(path, 0o602),
  }
  for (const [name, spoil] of Object.entries(spoils)) {
    await spoil()
    const warned = events.length
    const made = await open()
    assert.notEqual(made, last, name)
    assert.equal(events.length, warned + 1, name)
    assert.match(`${events.at(-1)?.msg}`, /cannot be used: it is replaced/, name)
    assert.equal((await stat(path)).mode & 0o777, 0o600, name)
    assert.equal(await open(), made, `${name}: kept`)
    last = made
  }
  await writeFile(`${path}.new`, 'left by a start that was cut short')
  await rm(path)
  const made = await open()
  assert.equal(await open(), made)
  assert.deepEqual(await readdir(folder), ['token.key'])
})

test('a key that cannot be kept is good for this run', async (t) => {
  const { path, events, open } = await keyFolder(t)
  await mkdir(path)
  await writeFile(join(path, 'something'), '')
  assert.notEqual(await open(), await open())
  assert.match(`${events.at(-1)?.msg}`, /cannot be kept/)
})

test('scopes: as clients write them, and as they are written back', () => {
  const back = (...parameters: string[]) => parseScopes(parameters).map(formatScope)
  assert.deepEqual(back('repository:a/b:push,pull'), ['repository:a/b:pull,push'])
  assert.deepEqual(back('repository:a:pull repository:b:*'), [
    'repository:a:pull',
    'repository:b:pull,push,delete',
  ])
  assert.deepEqual(back('repository:a:pull', 'repository:a:push'), ['repository:a:pull,push'])
  assert.deepEqual(back('repository:localhost:5001/a:pull'), ['repository:localhost:5001/a:pull'])
  assert.deepEqual(back('repository(plugin):a:pull'), ['repository:a:pull'])
  assert.deepEqual(back('repository:a:'), ['repository:a:'])
  assert.deepEqual(back('repository:a:pull,fly'), ['repository:a:pull'])
  for (const none of [
    '',
    ' ',
    'registry:catalog:*',
    'repository',
    'repository:a',
    'repository::pull',
    'repository:a"b:pull',
    'repository:a\u00e9:pull',
    `repository:${'a'.repeat(500)}:pull`,
    'user:ann:push',
  ])
    assert.deepEqual(back(none), [], none)
})
