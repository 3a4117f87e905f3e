/**
 * Who may have what: the table of rights, one row a test. Each is asked for as a blob and as a manifest, by GET and by
 * HEAD, of `acme/app`, a repository of an upstream where the operator has an account.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Tag } from '../../src/oci/reference.ts'
import { blobOf } from '../support/images.ts'
import {
  app,
  arrange,
  day,
  longAgo,
  type Outcome,
  questions,
  Rights,
  type Row,
  recently,
  things,
} from './rights-fixture.ts'

const latest = 'latest' as Tag

type Columns = [
  what: string,
  /** To whom its upstream gave it before. */
  holds: Row['holds'],
  /** A manifest of its own names it. */
  names: boolean,
  /** How another repository has it. */
  others: Row['others'],
  /** How long ago its upstream began to refuse it to anyone; 0: not at all. */
  refused: number,
  /** What that says to anyone now. */
  upstream: Row['upstream'],
  gives: Outcome,
  /** Whether the upstream is asked. */
  asked: boolean,
  /** Whether it holds it for anyone afterwards. */
  isPublic: boolean,
]

// biome-ignore format: it is a table
const table: readonly Columns[] = [
  //                                                         holds      names  others     refused   upstream     gives          asked  public
  ['it holds it',                                            'anyone',  false, '-',       0,        'not found', 'given',       false, true ],
  ['it holds it, and was refused a while ago',               'anyone',  false, '-',       recently, 'no',        'doubt',       false, true ],
  ['it holds it, and was refused long ago',                  'anyone',  false, '-',       longAgo,  'no',        'absent',      true,  true ],
  ['it holds it, was refused, and is public again',          'anyone',  false, '-',       longAgo,  'yes',       'given',       true,  true ],
  ['it holds it, was refused, names it, it is free',         'anyone',  true,  'public',  longAgo,  'no',        'given',       false, true ],
  ['it holds it, was refused, names it not, it is free',     'anyone',  false, 'public',  longAgo,  'no',        'absent',      true,  true ],
  ['it holds it, was refused, and anyone is limited',        'anyone',  false, '-',       longAgo,  '429',       'unavailable', true,  true ],
  ['it holds it, was refused, and the upstream fails',       'anyone',  false, '-',       longAgo,  '503',       'unavailable', true,  true ],
  ['it holds it, was refused, and the upstream is gone',     'anyone',  false, '-',       longAgo,  'gone',      'unavailable', false, true ],
  ['it has it for the account, anyone is refused',           'account', false, '-',       0,        'no',        'absent',      true,  false],
  ['it has it for the account, and it is not free',          'account', true,  'account', 0,        'no',        'absent',      true,  false],
  ['it has it for the account, names it, it is free',        'account', true,  'public',  0,        'no',        'given',       false, false],
  ['it has it for the account, and anyone is limited',       'account', false, '-',       0,        '429',       'unavailable', true,  false],
  ['it has it for the account, and the upstream fails',      'account', false, '-',       0,        '503',       'unavailable', true,  false],
  ['it has it for the account, and anyone gets it now',      'account', false, '-',       0,        'yes',       'given',       true,  true ],
  ['it names it, and it is free',                            '-',       true,  'public',  0,        'no',        'given',       false, false],
  ['it names it, it is free, and the upstream is gone',      '-',       true,  'public',  0,        'gone',      'given',       false, false],
  ["it names what is an account's: yes",                     '-',       true,  'account', 0,        'yes',       'given',       true,  true ],
  ["it names what is an account's: not found",               '-',       true,  'account', 0,        'not found', 'absent',      true,  false],
  ["it names what is an account's: no answer",               '-',       true,  'account', 0,        '503',       'unavailable', true,  false],
  ['it names what is refused elsewhere: yes',                '-',       true,  'refused', 0,        'yes',       'given',       true,  true ],
  ['it names what is refused elsewhere: not found',          '-',       true,  'refused', 0,        'not found', 'absent',      true,  false],
  ['it names what is refused elsewhere: no answer',          '-',       true,  'refused', 0,        '503',       'unavailable', true,  false],
  ['it names what was pushed here: yes',                     '-',       true,  'pushed',  0,        'yes',       'given',       true,  true ],
  ['it names what was pushed here: not found',               '-',       true,  'pushed',  0,        'not found', 'absent',      true,  false],
  ['it names what was pushed here: no answer',               '-',       true,  'pushed',  0,        '503',       'unavailable', true,  false],
  ['it does not name what is free: yes',                     '-',       false, 'public',  0,        'yes',       'given',       true,  true ],
  ['it does not name what is free: not found',               '-',       false, 'public',  0,        'not found', 'absent',      true,  false],
  ['it does not name what is free: refused',                 '-',       false, 'public',  0,        'no',        'absent',      true,  false],
  ['it does not name what is free: the upstream is gone',    '-',       false, 'public',  0,        'gone',      'unavailable', false, false],
]

for (const [what, holds, isNamed, others, refusedFor, upstream, gives, isAsked, isPublic] of table) {
  test(`${what}: ${gives}`, async (t) => {
    for (const thing of things) {
      for (const method of questions) {
        const row = { holds, isNamed, others, refusedFor, upstream, isHere: true }
        const rights = await arrange(t, row, thing)
        const repository = rights.repository('acme/app')
        const message = `${method} of a ${thing.kind}`
        assert.equal(await rights.ask(repository, thing, method), gives, message)
        assert.equal(rights.asked > 0, isAsked, message)
        const holding = await rights.catalog.held(app, thing.content.digest)
        assert.equal(holding?.publicAt !== undefined, isPublic, message)
        if (gives !== 'absent') continue
        const before = rights.asked
        assert.equal(await rights.ask(repository, thing, method), 'absent', message)
        assert.equal(rights.asked, before, 'the refusal is remembered')
      }
    }
  })
}

for (const [upstream, gives] of [
  ['yes', 'given'],
  ['no', 'absent'],
  ['503', 'unavailable'],
] as const) {
  test(`its bytes are not here, whoever has a right to them, and the upstream says ${upstream}: ${gives}`, async (t) => {
    for (const thing of things) {
      for (const isNamed of [false, true]) {
        // The bytes of a manifest are here wherever somebody holds it.
        const others = isNamed && thing.kind === 'blob' ? 'public' : '-'
        const row = { holds: '-', isNamed, others, refusedFor: 0, upstream, isHere: false } as const
        const rights = await arrange(t, row, thing)
        assert.equal(await rights.ask(rights.repository('acme/app'), thing, 'GET'), gives)
        const holding = await rights.catalog.held(app, thing.content.digest)
        assert.equal(holding?.publicAt !== undefined, gives === 'given')
      }
    }
  })
}

test('delivery is no evidence: bytes that came for another repository, or lay here before, open nothing', async (t) => {
  const rights = await Rights.start(t)
  const [blob] = things
  assert.ok(blob)
  const { digest, bytes } = blob.content
  rights.hub.addBlob('acme/secret', blob.content)
  rights.hub.addBlob('acme/app', Buffer.from('something else'))
  const [secret, app] = [rights.repository('acme/secret'), rights.repository('acme/app')]
  assert.equal(await rights.ask(secret, blob, 'GET'), 'given')
  assert.equal(await rights.ask(app, blob, 'GET'), 'absent')
  assert.equal((await rights.catalog.held(app.key, digest))?.publicAt, undefined)
  // What an earlier process left whole.
  const again = await Rights.start(t)
  again.bytes.put(bytes)
  again.hub.addBlob('acme/app', Buffer.from('something else'))
  assert.equal(await again.ask(again.repository('acme/app'), blob, 'GET'), 'absent')
  assert.ok(again.asked > 0)
})

test('names that are made up leave no repository', async (t) => {
  const rights = await Rights.start(t)
  const repository = rights.repository('made/up')
  for (const thing of things) {
    for (const method of questions) assert.equal(await rights.ask(repository, thing, method), 'absent')
  }
  await assert.rejects(repository.manifest(latest, { isHead: true }))
  await repository.referrers(things[1]?.content.digest ?? assert.fail(), {})
  assert.deepEqual(await rights.catalog.repositories({ limit: 10 }), [])
})

test('layers that a manifest makes up: each is asked for once, and not again for a while', async (t) => {
  const rights = await Rights.start(t)
  rights.hub.addBlob('acme/app', Buffer.from('something else'))
  const made = Array.from({ length: 20 }, (_, index) => blobOf(Buffer.from(`made up ${index}`)))
  for (const { digest } of made) await rights.name(app, digest, 'layer')
  const askAll = () =>
    Promise.all(
      made.map((content) => rights.ask(rights.repository('acme/app'), { kind: 'blob', content }, 'GET')),
    )
  assert.deepEqual(new Set(await askAll()), new Set(['absent']))
  const before = rights.asked
  assert.deepEqual(new Set(await askAll()), new Set(['absent']))
  assert.equal(rights.asked, before)
})

test('cache.servePrivate 0: what was public is given to nobody after the first refusal', async (t) => {
  const rights = await Rights.start(t, { servePrivateMs: 0 })
  const [, manifest] = things
  assert.ok(manifest)
  rights.hub.addManifest('acme/app', manifest.content, 'latest')
  const repository = rights.repository('acme/app')
  await repository.manifest(latest, { isHead: false })
  assert.equal(await rights.ask(repository, manifest, 'GET'), 'given')
  rights.hub.setPrivate('acme/app', ['ann'])
  rights.hub.expireTokens()
  await assert.rejects(repository.manifest(latest, { isHead: false }))
  assert.equal(await rights.ask(repository, manifest, 'GET'), 'absent')
})

test('a clock that was set back makes no refusal young', async (t) => {
  const rights = await Rights.start(t)
  const [blob] = things
  assert.ok(blob)
  await rights.catalog.confirmed(app, blob.content.digest, { as: 'anyone', at: Date.now() })
  await rights.catalog.refused(app, Date.now() + 400 * day)
  assert.equal(await rights.mirror.rights.gives(app, blob.content.digest), undefined)
})
