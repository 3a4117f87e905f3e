/**
 * Who may do what, from where. Every cell: each word of `local.push`, with and without users; pull, push,
 * delete; anyone, a user by password, by a token for this, for less, for something else; this machine, a private
 * network, outside, a Unix socket; directly, told by a proxy, hidden by one; a page in a browser.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Origin } from '../../src/access/origin.ts'
import {
  type Action,
  actions,
  anyone,
  decide,
  type PushRule,
  pushersOf,
  usualPushRule,
  type Who,
} from '../../src/access/policy.ts'

const words: readonly PushRule[] = ['off', 'this-machine', 'private-networks', 'users', 'anyone']
const user = (...granted: (readonly Action[])[]): Who => {
  const scopes = granted.map((some) => ({ repository: 'app', actions: some }))
  return { kind: 'user', name: 'ann', scopes }
}
const people: Readonly<Record<string, Who>> = {
  anyone,
  'by password': { kind: 'user', name: 'ann' },
  'token for all': user(['pull', 'push', 'delete']),
  'token to push': user(['pull', 'push']),
  'token to delete': user(['delete'], ['pull']),
  'token for nothing': user(),
  'token for another': {
    kind: 'user',
    name: 'ann',
    scopes: [{ repository: 'apple', actions: [...actions] }],
  },
}
const addresses = {
  unix: undefined,
  loopback: '127.8.9.1',
  private: '192.168.1.7',
  public: '203.0.113.9',
} as const
const ways: readonly Origin['by'][] = ['direct', 'told', 'untold', 'hidden']

/** What the words mean, said once more and otherwise. */
function expected(
  word: PushRule,
  hasUsers: boolean,
  action: Action,
  person: string,
  place: keyof typeof addresses,
  by: Origin['by'],
  isOfPage: boolean,
): 'yes' | 'UNAUTHORIZED' | 'DENIED' {
  if (action === 'pull') return 'yes'
  if (word === 'off' || isOfPage) return 'DENIED'
  const here = place === 'unix' || place === 'loopback'
  const open: Record<PushRule, boolean> = {
    off: false,
    users: false,
    anyone: true,
    'this-machine': by === 'direct' && here,
    'private-networks': (by === 'direct' || by === 'told') && place !== 'public',
  }
  if (open[word]) return 'yes'
  const mine: Record<string, readonly string[]> = {
    'by password': ['push', 'delete'],
    'token for all': ['push', 'delete'],
    'token to push': ['push'],
    'token to delete': ['delete'],
  }
  if (mine[person]?.includes(action)) return 'yes'
  return hasUsers || person !== 'anyone' ? 'UNAUTHORIZED' : 'DENIED'
}

test('every cell', () => {
  let cells = 0
  for (const push of words)
    for (const hasUsers of [false, true])
      for (const action of actions)
        for (const [person, who] of Object.entries(people))
          for (const place of Object.keys(addresses) as (keyof typeof addresses)[])
            for (const by of ways)
              for (const isOfPage of [false, true]) {
                const decision = decide(
                  {
                    who,
                    action,
                    repository: 'app',
                    origin: { address: addresses[place], by, isOfPage },
                    host: 'localhost:5000',
                  },
                  { push, hasUsers, hostname: 'nas' },
                )
                const cell = [push, hasUsers, action, person, place, by, isOfPage].join(' ')
                const outcome = decision.isAllowed ? 'yes' : decision.code
                assert.equal(outcome, expected(push, hasUsers, action, person, place, by, isOfPage), cell)
                if (!decision.isAllowed) assert.ok(decision.reason.length > 20, cell)
                cells += 1
              }
  assert.equal(cells, 5 * 2 * 3 * 7 * 4 * 4 * 2)
})

const direct = (address: string | undefined): Origin => ({ address, by: 'direct', isOfPage: false })
const push = (origin: Origin, rule: PushRule, host?: string) =>
  decide(
    { who: anyone, action: 'push', repository: 'app', origin, host },
    { push: rule, hasUsers: false, hostname: 'NAS.lan' },
  )

test('who may push where nothing says so: users where there is a file of them', () => {
  assert.equal(usualPushRule(true), 'users')
  assert.equal(usualPushRule(false), 'private-networks')
})

test('which addresses are of private networks', () => {
  const inside = [
    '10.0.0.1',
    '172.16.0.1',
    '172.31.255.254',
    '192.168.0.1',
    '169.254.1.1',
    '127.0.0.1',
    '::1',
    'fd00::1',
    'fc12:3456::1',
    'fe80::1',
    'fe80::1%eth0',
    '::ffff:192.168.1.2',
    '::ffff:127.0.0.1',
  ]
  const outside = [
    '8.8.8.8',
    '172.15.0.1',
    '172.32.0.1',
    '192.169.0.1',
    '100.64.0.1',
    '100.127.255.254',
    '0.0.0.0',
    '255.255.255.255',
    '224.0.0.1',
    '2001:db8::1',
    '2606:4700::1111',
    '::',
    '::ffff:8.8.8.8',
    '64:ff9b::c0a8:101',
    '2002:c0a8:101::1',
    'fec0::1',
    'no address',
    '',
  ]
  for (const address of inside) assert.ok(push(direct(address), 'private-networks').isAllowed, address)
  for (const address of outside) assert.ok(!push(direct(address), 'private-networks').isAllowed, address)
  for (const address of ['127.0.0.1', '127.255.0.9', '::1', '::ffff:127.0.0.1'])
    assert.ok(push(direct(address), 'this-machine', '127.0.0.1:5000').isAllowed, address)
  for (const address of [...outside, '10.0.0.1', 'fe80::1', 'fd00::1'])
    assert.ok(!push(direct(address), 'this-machine', '127.0.0.1:5000').isAllowed, address)
})

test('this machine pushes by its own names, and not by one that leads here from elsewhere', () => {
  const here = direct('127.0.0.1')
  for (const host of [
    '127.0.0.1',
    '127.0.0.1:5000',
    '[::1]:5000',
    '192.168.1.7:5000',
    'localhost',
    'LOCALHOST:5000',
    'app.localhost:5000',
    'nas',
    'nas.lan:5000',
  ])
    assert.ok(push(here, 'this-machine', host).isAllowed, host)
  for (const host of [
    'evil.example',
    'evil.example:5000',
    'localhost.evil.example',
    'xlocalhost',
    'nas.lan.evil.example',
    'lan',
    '127.0.0.1.evil.example',
    '',
    undefined,
  ]) {
    const decision = push(here, 'this-machine', host)
    assert.ok(!decision.isAllowed && /localhost or its own name/.test(decision.reason), host)
  }
  assert.ok(push(direct(undefined), 'this-machine', 'larder').isAllowed, 'no page comes by a Unix socket')
})

test('who may push, in words', () => {
  const told = (hasUsers: boolean) => words.map((word) => [word, pushersOf(word, hasUsers)])
  const machines = ['this machine', 'the machines of private networks']
  const users = 'users with a login'
  assert.deepEqual(Object.fromEntries(told(false)), {
    off: 'nobody',
    users: 'nobody',
    'this-machine': machines[0],
    'private-networks': machines[1],
    anyone: 'anyone',
  })
  assert.deepEqual(Object.fromEntries(told(true)), {
    off: 'nobody',
    users,
    'this-machine': `${machines[0]} and ${users}`,
    'private-networks': `${machines[1]} and ${users}`,
    anyone: 'anyone',
  })
})

test('what is said to whoever is refused tells what to do', () => {
  const reasonOf = (decision: ReturnType<typeof decide>) => (decision.isAllowed ? '' : decision.reason)
  assert.match(reasonOf(push(direct('203.0.113.9'), 'off')), /local\.push: off/)
  assert.match(reasonOf(push(direct('203.0.113.9'), 'this-machine')), /127\.0\.0\.1.*local\.push/)
  assert.match(reasonOf(push(direct('203.0.113.9'), 'private-networks')), /203\.0\.113\.9 is in none/)
  const wish = { who: anyone, action: 'push', repository: 'app', origin: direct('10.0.0.1') } as const
  const users = (hasUsers: boolean) => reasonOf(decide(wish, { push: 'users', hasUsers, hostname: 'nas' }))
  assert.match(users(true), /app needs a login.*docker login/)
  assert.match(users(false), /none yet.*auth\.htpasswd/)
  for (const rule of ['private-networks', 'this-machine'] as const) {
    const hidden: Origin = { address: '127.0.0.1', by: 'hidden', isOfPage: false }
    assert.match(reasonOf(push(hidden, rule)), /name it in server\.trustProxy/)
  }
  const untold = (address: string | undefined, rule: PushRule) =>
    reasonOf(push({ address, by: 'untold', isOfPage: false }, rule))
  const isIn = 'is in server.trustProxy in mirror.yml, and it is not told for whom it asks'
  const how = '(X-Forwarded-For, docs/operating.md)'
  for (const [address, rule, sentence] of [
    ['::1', 'private-networks', `::1 ${isIn} ${how}: push through the web server or by a Unix socket`],
    [
      undefined,
      'private-networks',
      `the Unix socket ${isIn} ${how}: push through the web server or by 127.0.0.1`,
    ],
    ['::1', 'this-machine', `::1 ${isIn} ${how}: push by a Unix socket`],
  ] as const)
    assert.equal(untold(address, rule), sentence)
})
