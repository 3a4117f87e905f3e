import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Holding } from '../../src/storage/catalog.ts'
import {
  alpine,
  anyone,
  app,
  blobOf,
  fileOf,
  latest,
  layerOf,
  type OpenCatalog,
  one,
  repositoryOf,
} from './catalog-fixtures.ts'

/** The times of a holding that are there. */
function timesOf(held: Holding | undefined) {
  return Object.fromEntries(Object.entries(held ?? {}).filter(([, value]) => value !== undefined))
}

/** On whose word a repository has something. */
export function evidenceContract(open: OpenCatalog): void {
  const account = { as: 'account', at: 20 } as const
  const blob = blobOf('blob')

  test('a manifest that anyone was given is held for anyone, also later', async (t) => {
    const { catalog, reopen } = await open(t)
    await catalog.pulled(alpine, one, { ...anyone(10), tag: latest, references: [layerOf('layer')] })
    for (const again of [async () => catalog, reopen]) {
      const opened = await again()
      const held = await opened.held(alpine, one.digest)
      assert.deepEqual(timesOf(held), { mediaType: one.mediaType, publicAt: 10 })
    }
  })

  test('that a manifest names something is no evidence for it', async (t) => {
    const { catalog } = await open(t)
    await catalog.pulled(alpine, one, { ...anyone(10), references: [layerOf('layer')] })
    assert.equal(await catalog.held(alpine, blobOf('layer')), undefined)
    assert.equal(await catalog.isFree(blobOf('layer'), { at: 10_000, refusedAfter: 0 }), false)
  })

  test('what an account was given is not free; each audience has its own time', async (t) => {
    const { catalog } = await open(t)
    await catalog.confirmed(alpine, blob, account)
    assert.deepEqual(timesOf(await catalog.held(alpine, blob)), { accountAt: 20 })
    assert.equal(await catalog.isFree(blob, { at: 10_000, refusedAfter: 0 }), false)
    await catalog.confirmed(alpine, blob, anyone(30))
    assert.deepEqual(timesOf(await catalog.held(alpine, blob)), { accountAt: 20, publicAt: 30 })
    assert.equal(await catalog.isFree(blob, { at: 10_000, refusedAfter: 0 }), true)
    await catalog.confirmed(alpine, blob, anyone(40))
    assert.deepEqual(timesOf(await catalog.held(alpine, blob)), { accountAt: 20, publicAt: 40 })
  })

  test('a tag that is confirmed confirms its manifest, for whom it was asked', async (t) => {
    const { catalog } = await open(t)
    await catalog.pulled(alpine, one, { ...account, tag: latest, references: [] })
    assert.equal(await catalog.isFree(one.digest, { at: 10_000, refusedAfter: 0 }), false)
    await catalog.checked(alpine, latest, one.digest, anyone(30))
    assert.deepEqual(timesOf(await catalog.held(alpine, one.digest)), {
      mediaType: one.mediaType,
      accountAt: 20,
      publicAt: 30,
    })
  })

  test('the first refusal since the last yes is what counts', async (t) => {
    const { catalog, reopen } = await open(t)
    await catalog.confirmed(alpine, blob, anyone(10))
    assert.equal(await catalog.refused(alpine, 50), true)
    assert.equal(await catalog.refused(alpine, 60), false)
    for (const again of [async () => catalog, reopen]) {
      const opened = await again()
      assert.deepEqual(await opened.repository(alpine), { refusedSince: 50 })
      assert.deepEqual(timesOf(await opened.held(alpine, blob)), { publicAt: 10, refusedSince: 50 })
    }
  })

  test('a refusal of a name that nobody knows leaves no record', async (t) => {
    const { catalog } = await open(t)
    assert.equal(await catalog.refused(alpine, 50), false)
    assert.equal(await catalog.repository(alpine), undefined)
    assert.deepEqual(await catalog.repositories({ limit: 10 }), [])
  })

  test('each yes to anyone ends the refusal, one to an account does not', async (t) => {
    const { catalog } = await open(t)
    const refusedSince = async () => (await catalog.repository(alpine))?.refusedSince
    const given = { references: [], tag: latest }
    await catalog.pulled(alpine, one, { ...given, ...anyone(1) })
    const says = (asked: typeof account | ReturnType<typeof anyone>) => [
      () => catalog.pulled(alpine, one, { ...given, ...asked }),
      () => catalog.checked(alpine, latest, one.digest, asked),
      () => catalog.confirmed(alpine, blob, asked),
    ]
    await catalog.refused(alpine, 50)
    for (const say of says(account)) {
      await say()
      assert.equal(await refusedSince(), 50)
    }
    for (const say of says(anyone(60))) {
      await say()
      assert.equal(await refusedSince(), undefined)
      await catalog.refused(alpine, 50)
    }
  })

  test('what only refused repositories hold is free as long as the refusals are young', async (t) => {
    const { catalog } = await open(t)
    const other = repositoryOf('quay.io', 'other')
    await catalog.confirmed(alpine, blob, anyone(10))
    await catalog.refused(alpine, 50)
    assert.equal(await catalog.isFree(blob, { at: 10_000, refusedAfter: 49 }), true)
    assert.equal(await catalog.isFree(blob, { at: 10_000, refusedAfter: 50 }), false)
    await catalog.confirmed(other, blob, account)
    assert.equal(await catalog.isFree(blob, { at: 10_000, refusedAfter: 50 }), false)
    await catalog.confirmed(other, blob, anyone(60))
    assert.equal(await catalog.isFree(blob, { at: 10_000, refusedAfter: 50 }), true)
  })

  test('a refusal from before the clock was set back is old, not young for as long', async (t) => {
    const { catalog } = await open(t)
    await catalog.confirmed(alpine, blob, anyone(10))
    await catalog.refused(alpine, 1000)
    for (const [at, isFree] of [
      [100, false],
      [950, false],
      [951, true],
      [1049, true],
      [1050, false],
    ] as const) {
      assert.equal(await catalog.isFree(blob, { at, refusedAfter: at - 50 }), isFree, `at ${at}`)
    }
    await catalog.sealed(blob, fileOf(4), 1)
    assert.equal(await catalog.mount(app, blob, alpine, { at: 100, refusedAfter: 50 }), false)
    assert.equal(await catalog.mount(app, blob, alpine, { at: 960, refusedAfter: 910 }), true)
  })

  test('of many holders the last confirmed ones are looked at', async (t) => {
    const { catalog } = await open(t)
    const refuse = async (n: number) => {
      const repository = repositoryOf('docker.io', `library/r${n}`)
      await catalog.confirmed(repository, blob, anyone(100 + n))
      await catalog.refused(repository, 500)
    }
    await catalog.confirmed(alpine, blob, anyone(10))
    for (let n = 0; n < 15; n += 1) await refuse(n)
    assert.equal(await catalog.isFree(blob, { at: 10_000, refusedAfter: 900 }), true)
    await refuse(15)
    assert.equal(await catalog.isFree(blob, { at: 10_000, refusedAfter: 900 }), false)
  })

  test('what was pushed is nobody’s to take elsewhere', async (t) => {
    const { catalog } = await open(t)
    await catalog.pushed(app, blob, fileOf(3), 10)
    assert.equal(await catalog.isFree(blob, { at: 10_000, refusedAfter: 0 }), false)
    assert.equal(await catalog.held(alpine, blob), undefined)
  })

  test('that the bytes are here is no evidence', async (t) => {
    const { catalog } = await open(t)
    await catalog.sealed(blob, fileOf(3), 10)
    assert.equal(await catalog.isFree(blob, { at: 10_000, refusedAfter: 0 }), false)
    assert.deepEqual(await catalog.repositories({ limit: 10 }), [])
  })
}
