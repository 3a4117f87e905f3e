/**
 * Who may have what: the table of rights, one row a test. Each is asked for as a blob and as a manifest, by GET and by
 * HEAD, of `acme/app`, a repository of an upstream where the operator has an account.
 */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { partialId } from '../../src/content/fill-options.ts'
import type { Tag } from '../../src/oci/reference.ts'
import type { CatalogVerbs } from '../../src/storage/catalog.ts'
import { StorageError } from '../../src/storage/error.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { blobOf, pseudoRandomBytes } from '../support/images.ts'
import { lent } from '../support/lent.ts'
import { until } from '../support/settle.ts'
import {
  app,
  arrange,
  day,
  longAgo,
  type Outcome,
  pushed,
  questions,
  Rights,
  type Row,
  recently,
  say,
  type Thing,
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

const [blob, manifest] = things as readonly [Thing, Thing]
const { digest } = blob.content

/** How the bytes of the blob came, other than by the repository that is asked. */
const deliveries: Readonly<Record<string, (rights: Rights) => Promise<void>>> = {
  'lay here, and nobody knows since when': (rights) => rights.keep(blob.content),
  'were left whole, and not sealed, by an earlier process': async ({ store }) => {
    const partial = await store.partials.open({ id: partialId(digest), algorithm: 'sha256' })
    await partial.write(0, lent(blob.content.bytes))
    await partial.suspend(new Error('it stopped'))
  },
  'came for another repository': async (rights) => {
    rights.hub.addBlob('acme/secret', blob.content)
    assert.equal(await rights.ask(rights.repository('acme/secret'), blob, 'GET'), 'given')
  },
  'were pushed': async (rights) => {
    const partial = await rights.blobs.openWriter('pushed', 'sha256')
    await partial.append([blob.content.bytes])
    await rights.blobs.seal(partial, digest, (file) =>
      rights.catalog.pushed(pushed, digest, file, Date.now()),
    )
  },
}

for (const [what, deliver] of Object.entries(deliveries)) {
  for (const [upstream, gives] of [
    ['not found', 'absent'],
    ['503', 'unavailable'],
    ['yes', 'given'],
  ] as const) {
    test(`delivery is no evidence: bytes that ${what}, and the upstream says ${upstream}: ${gives}`, async (t) => {
      const rights = await Rights.start(t)
      await deliver(rights)
      await say(rights, upstream, blob)
      rights.hub.reset()
      assert.equal(await rights.ask(rights.repository('acme/app'), blob, 'GET'), gives)
      assert.ok(rights.asked > 0)
      assert.equal(rights.hub.bytesSent(digest), 0, 'and no byte comes twice')
      assert.equal((await rights.catalog.held(app, digest))?.publicAt !== undefined, gives === 'given')
    })
  }
}

for (const [upstream, gives] of [
  ['not found', 'absent'],
  ['yes', 'given'],
] as const) {
  test(`bytes on their way for another repository, and the upstream says ${upstream}: ${gives}`, async (t) => {
    const rights = await Rights.start(t)
    const large: Thing = { kind: 'blob', content: blobOf(pseudoRandomBytes(200_000, 'large')) }
    const { digest, size } = large.content
    rights.hub.addBlob('acme/secret', large.content)
    await say(rights, upstream, large)
    using hold = rights.hub.hold({ listener: 'cdn', digest }, 100_000)
    const first = rights.ask(rights.repository('acme/secret'), large, 'GET')
    await hold.reached
    const second = rights.ask(rights.repository('acme/app'), large, 'GET')
    // The question goes out beside the fill, which waits.
    await until(() => rights.hub.count({ method: 'HEAD', path: /acme\/app\/blobs/ }) > 0)
    hold.release()
    assert.deepEqual([await first, await second], ['given', gives])
    assert.equal(rights.hub.bytesSent(digest), size)
  })
}

for (const [what, refusing] of [
  ['takes no writes', ['pulled', 'checked', 'confirmed', 'refused', 'sealed', 'saveReferrers']],
  ['takes no refusals', ['refused']],
] as const) {
  test(`a catalog that ${what}: what came is given while the process lives, until it is refused`, async (t) => {
    const catalog = new MemoryCatalog()
    for (const verb of refusing) {
      t.mock.method(catalog as CatalogVerbs, verb, async () => {
        throw new StorageError('FULL', 'the disk is full')
      })
    }
    const rights = await Rights.start(t, { catalog, servePrivateMs: 0 })
    const { hub } = rights
    hub.addBlob('acme/app', blob.content)
    hub.addManifest('acme/app', manifest.content, 'latest')
    const repository = rights.repository('acme/app')
    const askAll = () => Promise.all(things.map((thing) => rights.ask(repository, thing, 'GET')))
    await repository.manifest(latest, { isHead: false })
    assert.deepEqual(await askAll(), ['given', 'given'])
    hub.reset()
    assert.deepEqual(await askAll(), ['given', 'given'])
    assert.equal(rights.asked, 0)
    hub.setPrivate('acme/app', ['ann'])
    hub.expireTokens()
    await assert.rejects(rights.heard(repository, latest), { name: 'UpstreamError' })
    assert.deepEqual(await askAll(), ['absent', 'absent'])
  })
}

test('what came for the account is given to nobody until anyone gets it', async (t) => {
  const rights = await Rights.start(t)
  const { hub, catalog, upstream } = rights
  const { digest, bytes, mediaType } = manifest.content
  const sent = { bytes: Buffer.from(bytes), contentType: mediaType, claimedDigest: digest }
  const fetching = t.mock.method(upstream, 'manifest', async () => ({ ...sent, as: 'account' as const }))
  await say(rights, 'no', manifest)
  const repository = rights.repository('acme/app')
  for (const one of [repository, rights.restarted(t).repository('acme/app')]) {
    await assert.rejects(one.manifest(latest, { isHead: false }), { name: 'UpstreamError' })
    assert.equal(await rights.ask(one, manifest, 'GET'), 'absent')
  }
  fetching.mock.restore()
  assert.equal(await catalog.tag(app, latest), undefined)
  const { publicAt, accountAt } = (await catalog.held(app, digest)) ?? {}
  assert.deepEqual([publicAt, accountAt !== undefined], [undefined, true])
  hub.setPublic('acme/app')
  const later = rights.restarted(t)
  assert.equal(await later.ask(later.repository('acme/app'), manifest, 'GET'), 'given')
})

test('a manifest that is damaged in the catalog is fetched once more, and replaced', async (t) => {
  const catalog = new MemoryCatalog()
  const rights = await Rights.start(t, { catalog })
  rights.hub.addManifest('acme/app', manifest.content)
  assert.equal(await rights.ask(rights.repository('acme/app'), manifest, 'GET'), 'given')
  catalog.tables.manifests.set(manifest.content.digest, Buffer.from('{"schemaVersion":2,"layers":[]'))
  for (const fetches of [1, 0]) {
    rights.hub.reset()
    const again = rights.restarted(t)
    assert.equal(await again.ask(again.repository('acme/app'), manifest, 'GET'), 'given')
    assert.equal(rights.hub.count({ method: 'GET', path: /manifests/, status: 200 }), fetches)
  }
})

test('names that are made up leave no repository', async (t) => {
  const rights = await Rights.start(t)
  const repository = rights.repository('made/up')
  for (const thing of things) {
    for (const method of questions) assert.equal(await rights.ask(repository, thing, method), 'absent')
  }
  await assert.rejects(repository.manifest(latest, { isHead: true }))
  await repository.referrers(
    things[1]?.content.digest ?? assert.fail(),
    { artifactTypes: [], from: undefined },
    {},
  )
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
  rights.hub.addManifest('acme/app', manifest.content, 'latest')
  const repository = rights.repository('acme/app')
  await repository.manifest(latest, { isHead: false })
  assert.equal(await rights.ask(repository, manifest, 'GET'), 'given')
  rights.hub.setPrivate('acme/app', ['ann'])
  rights.hub.expireTokens()
  await assert.rejects(rights.heard(repository, latest), { name: 'UpstreamError' })
  assert.equal(await rights.ask(repository, manifest, 'GET'), 'absent')
})

test('a clock that was set back makes no refusal young', async (t) => {
  const rights = await Rights.start(t)
  await rights.catalog.confirmed(app, blob.content.digest, { as: 'anyone', at: Date.now() })
  await rights.catalog.refused(app, Date.now() + 400 * day)
  assert.equal(await rights.mirror.rights.gives(app, blob.content.digest), undefined)
})
