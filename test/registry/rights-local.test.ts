/** What is pushed here has no upstream: what a local repository has, and what may become its own. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { app, day, longAgo, other, pushed, Rights, things } from './rights-fixture.ts'

test('local: what was pushed there, never what lies in the cache, and no upstream is asked', async (t) => {
  const rights = await Rights.start(t)
  const [blob] = things
  assert.ok(blob)
  const { digest, size } = blob.content
  const gives = () => rights.mirror.rights.gives(pushed, digest)
  await rights.catalog.confirmed(other, digest, { as: 'anyone', at: Date.now() })
  await rights.name(pushed, digest, 'layer')
  assert.equal(await gives(), undefined)
  await rights.catalog.pushed(pushed, digest, { size, mtime: 1, inode: 1 }, Date.now())
  assert.deepEqual(await gives(), { by: 'held', refusedSince: undefined })
  assert.equal(rights.asked, 0)
})

test('a mount gives what its source gives to anyone and is here; without a source, what is free and here', async (t) => {
  const { catalog } = await Rights.start(t)
  const { digest, size } = things[0]?.content ?? assert.fail()
  const times = { at: Date.now(), refusedAfter: Date.now() - day }
  const mount = (from: typeof app | 'free') => catalog.mount(pushed, digest, from, times)
  const holding = () => catalog.held(pushed, digest)
  await catalog.confirmed(app, digest, { as: 'account', at: Date.now() })
  await catalog.sealed(digest, { size, mtime: 1, inode: 1 }, Date.now())
  assert.deepEqual([await mount(app), await mount('free'), await holding()], [false, false, undefined])
  await catalog.confirmed(other, digest, { as: 'anyone', at: Date.now() })
  await catalog.gone(digest)
  assert.deepEqual([await mount(other), await mount('free')], [false, false], 'the bytes are not here')
  await catalog.sealed(digest, { size, mtime: 1, inode: 1 }, Date.now())
  assert.equal(await mount(app), false, 'that some other one gives it is not enough')
  await catalog.refused(other, Date.now() - longAgo)
  assert.deepEqual([await mount(other), await mount('free')], [false, false], 'it was refused long ago')
  await catalog.confirmed(other, digest, { as: 'anyone', at: Date.now() })
  assert.equal(await mount('free'), true)
  assert.notEqual((await holding())?.localAt, undefined)
})

test('a manifest that is pushed needs all that it names in its own repository, free or not', async (t) => {
  const { catalog } = await Rights.start(t)
  const { digest, size } = things[0]?.content ?? assert.fail()
  const [, { content: manifest } = assert.fail()] = things
  const record = { digest: manifest.digest, mediaType: manifest.mediaType, bytes: manifest.bytes }
  const put = () =>
    catalog.putManifest(pushed, record, {
      references: [{ target: digest, kind: 'layer' }],
      tags: [],
      at: Date.now(),
    })
  await catalog.confirmed(other, digest, { as: 'anyone', at: Date.now() })
  await catalog.sealed(digest, { size, mtime: 1, inode: 1 }, Date.now())
  assert.deepEqual(await put(), [digest])
  const times = { at: Date.now(), refusedAfter: Date.now() - day }
  assert.equal(await catalog.mount(pushed, digest, 'free', times), true)
  assert.deepEqual(await put(), [])
})
