/**
 * Whether a password is right, and what that costs others. Thought of: right, wrong, nearly; hashes of PHP's and Apache's
 * kind; unknown users; 72 bytes and one more, also in characters of several bytes; a zero byte, none at all, a mebibyte;
 * what is remembered, for how long, and not when the hash changes; a user who has just been added; one who gets another
 * password, or is removed, while the old one is compared; hashes of several costs; two at a time, a full queue, one
 * address that fills it, clients that leave before their turn.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import bcrypt from 'bcrypt'
import { fingerprintOf, type Users } from '../../src/access/htpasswd.ts'
import {
  type CheckOptions,
  type Login,
  nativeBcrypt,
  Passwords,
  type PasswordsOptions,
} from '../../src/access/passwords.ts'

const signal = new AbortController().signal
const at = (client: string) => ({ client, signal })
const hash = bcrypt.hashSync('secret', 4)

function passwords(users: Record<string, string>, options: Partial<PasswordsOptions> = {}) {
  const held = new Map(Object.entries(users))
  const compared: string[] = []
  const matching = new Passwords({
    users: (): Users => new Map(held),
    refresh: async () => {},
    compare: async (password, of) => {
      compared.push(password)
      return bcrypt.compare(password, of)
    },
    ...options,
  })
  const checks = {
    isRight: async (login: Login, asked: CheckOptions) => (await matching.match(login, asked)) !== undefined,
  }
  const isRight = (user: string, password: string) => checks.isRight({ user, password }, at('a'))
  return { matching, checks, held, compared, isRight }
}

test('right and wrong, with the hashes of every program', async () => {
  const compare = await nativeBcrypt()
  for (const version of ['$2a', '$2b', '$2y']) {
    const { isRight } = passwords({ ann: hash.replace('$2b', version) }, { compare })
    assert.equal(await isRight('ann', 'secret'), true, version)
    for (const wrong of ['secreT', 'secret ', ' secret', 'secre', 'secrets'])
      assert.equal(await isRight('ann', wrong), false, `${version} ${wrong}`)
    assert.equal(await isRight('Ann', 'secret'), false)
  }
})

test('passwords that bcrypt would cut or misread are wrong without a look', async () => {
  const long = 'a'.repeat(72)
  const wide = 'ä'.repeat(36)
  const { isRight, compared } = passwords({ ann: bcrypt.hashSync(long, 4), bob: bcrypt.hashSync(wide, 4) })
  assert.equal(await isRight('ann', long), true)
  assert.equal(await isRight('bob', wide), true)
  const before = compared.length
  for (const password of [`${long}b`, '', `${long.slice(1)}\0`, 'a\0', 'a'.repeat(1024 * 1024)])
    assert.equal(await isRight('ann', password), false)
  assert.equal(await isRight('bob', `${wide}b`), false)
  assert.equal(await isRight('bob', `${'ä'.repeat(35)}aaa`), false)
  assert.equal(compared.length, before, 'nothing was compared')
})

test('a wrong password costs the same work for everybody, and for nobody: that of the highest cost', async () => {
  const costs: number[] = []
  const { isRight, held } = passwords(
    {
      ann: bcrypt.hashSync('secret', 7),
      bob: bcrypt.hashSync('secret', 4),
      cid: bcrypt.hashSync('secret', 6),
    },
    {
      compare: async (password, of) => {
        costs.push(Number(of.slice(4, 6)))
        return bcrypt.compare(password, of)
      },
    },
  )
  /** In rounds of the key setup. */
  const workOf = async (user: string, password: string) => {
    costs.length = 0
    assert.equal(await isRight(user, password), false)
    return costs.reduce((sum, cost) => sum + 2 ** cost, 0)
  }
  for (const user of ['ann', 'bob', 'cid', 'nobody', 'Ann', ''])
    assert.equal(await workOf(user, 'wrong'), 2 ** 7, user)
  assert.equal(await workOf('nobody', ''), 0)
  costs.length = 0
  assert.equal(await isRight('bob', 'secret'), true)
  assert.deepEqual(costs, [4], 'whoever knows the password learns nothing by the time')
  held.delete('ann')
  for (const user of ['bob', 'cid', 'nobody', 'ann'])
    assert.equal(await workOf(user, 'wrong again'), 2 ** 6, user)
})

test('who is nobody is nobody', async () => {
  const always = passwords({ ann: hash }, { compare: async () => true })
  assert.equal(await always.isRight('nobody', 'secret'), false, 'whatever was compared')
  assert.equal(await always.isRight('nobody', 'secret'), false, 'and is not remembered as somebody')
  assert.equal(await passwords({}).isRight('ann', 'secret'), false, 'where there are no users')
})

test('what was right is remembered for a while, what was wrong for a moment, and neither when the hash changes', async (t) => {
  const { isRight, compared, held } = passwords({ ann: hash })
  for (let n = 0; n < 5; n += 1) assert.equal(await isRight('ann', 'secret'), true)
  assert.equal(compared.length, 1)
  for (let n = 0; n < 3; n += 1) assert.equal(await isRight('ann', 'wrong'), false)
  assert.equal(compared.length, 2)
  held.set('ann', bcrypt.hashSync('another', 4))
  assert.equal(await isRight('ann', 'secret'), false)
  assert.equal(await isRight('ann', 'another'), true)
  held.delete('ann')
  assert.equal(await isRight('ann', 'another'), false)
  await t.test('and then forgotten', async () => {
    const short = passwords({ ann: hash }, { rememberMs: 1 })
    await short.isRight('ann', 'secret')
    const since = performance.now()
    while (performance.now() - since < 5) await new Promise(setImmediate)
    await short.isRight('ann', 'secret')
    assert.equal(short.compared.length, 2)
  })
})

test('somebody who was added a moment ago is let in', async () => {
  const { isRight, held } = passwords(
    { ann: hash },
    {
      refresh: async () => {
        held.set('bob', hash)
      },
    },
  )
  assert.equal(await isRight('bob', 'secret'), true)
  assert.equal(await isRight('bob', 'wrong'), false)
})

test('a password that is not the right one any more once it was compared is wrong', async (t) => {
  const renewed = bcrypt.hashSync('secret', 4)
  const changes: Record<string, (held: Map<string, string>) => void> = {
    'another password': (held) => held.set('ann', bcrypt.hashSync('another', 4)),
    'a user who is removed': (held) => held.delete('ann'),
    'the same password with another hash': (held) => held.set('ann', renewed),
    'another password, and the old one again': (held) => held.set('ann', hash),
  }
  for (const [name, change] of Object.entries(changes)) {
    await t.test(name, async () => {
      const { running, compare, turn } = heldUp()
      const { matching, held } = passwords({ ann: hash, bob: hash }, { compare })
      const asked = matching.match({ user: 'ann', password: 'secret' }, at('a'))
      await turn()
      change(held)
      running[0]?.resolve(true)
      await turn()
      const now = held.get('ann')
      running[1]?.resolve(now === renewed)
      const expected = now === hash || now === renewed ? fingerprintOf(now) : undefined
      assert.equal(await asked, expected)
    })
  }
  await t.test('also while it is compared the second time', async () => {
    const { running, compare, turn } = heldUp()
    const { matching, held } = passwords({ ann: hash }, { compare })
    const asked = matching.match({ user: 'ann', password: 'secret' }, at('a'))
    await turn()
    held.set('ann', renewed)
    running[0]?.resolve(true)
    await turn()
    held.delete('ann')
    running[1]?.resolve(true)
    assert.equal(await asked, undefined)
  })
})

/** Comparisons that end when they are told to. */
function heldUp() {
  const running: PromiseWithResolvers<boolean>[] = []
  const compare = () => {
    const one = Promise.withResolvers<boolean>()
    running.push(one)
    return one.promise
  }
  const turn = () => new Promise(setImmediate)
  return { running, compare, turn }
}

test('two at a time; the same login is checked once for all who send it', async () => {
  const { running, compare, turn } = heldUp()
  const { checks } = passwords({ ann: hash }, { compare })
  const asked = [1, 2, 3, 4].map((n) => checks.isRight({ user: 'ann', password: `p${n}` }, at(`c${n}`)))
  const same = [1, 2, 3].map(() => checks.isRight({ user: 'ann', password: 'p1' }, at('c1')))
  await turn()
  assert.equal(running.length, 2)
  running[0]?.resolve(true)
  await turn()
  assert.equal(running.length, 3)
  await turn()
  for (const one of running) one.resolve(true)
  await turn()
  for (const one of running) one.resolve(true)
  assert.deepEqual(await Promise.all([...asked, ...same]), Array(7).fill(true))
  assert.equal(running.length, 4)
})

test('one address has eight logins at a time, and 64 wait in all; who has left waits no more', async () => {
  const { running, compare, turn } = heldUp()
  const { checks } = passwords({ ann: hash }, { compare })
  let n = 0
  const ask = (client: string, gone = signal) => {
    n += 1
    return checks.isRight({ user: 'ann', password: `p${n}` }, { client, signal: gone })
  }
  const tooMany = { code: 'TOOMANYREQUESTS', status: 429, retryAfterSeconds: 10 }
  const waiting = Array.from({ length: 8 }, () => ask('greedy'))
  await assert.rejects(ask('greedy'), tooMany)
  const good = ask('good')
  for (let client = 0; client < 57; client += 1) waiting.push(ask(`c${client}`))
  await assert.rejects(ask('late'), tooMany)
  // 66 in all: two are checked.
  assert.equal(running.length, 2)
  const leaving = new AbortController()
  running[0]?.resolve(false)
  await turn()
  const left = ask('leaving', leaving.signal)
  await assert.rejects(ask('late'), tooMany)
  leaving.abort(new Error('gone'))
  await assert.rejects(left, /gone/)
  await turn()
  const late = ask('late')
  while (running.length < 67) {
    for (const one of running) one.resolve(true)
    await turn()
  }
  for (const one of running) one.resolve(true)
  assert.deepEqual(await Promise.all([good, late]), [true, true])
  await Promise.all(waiting)
  assert.equal(running.length, 67, 'nothing was compared for who had left')
})
