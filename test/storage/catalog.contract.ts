import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import type { Tag } from '../../src/oci/reference.ts'
import type { RepositoryKey } from '../../src/storage/repository-key.ts'
import { nothingStored } from '../../src/storage/stored-bytes.ts'
import { bytesContract } from './catalog-bytes.contract.ts'
import { collectionContract } from './catalog-collection.contract.ts'
import { evidenceContract } from './catalog-evidence.contract.ts'
import { factsContract } from './catalog-facts.contract.ts'
import {
  alpine,
  anyone,
  blobOf,
  latest,
  layerOf,
  manifestOf,
  type OpenCatalog,
  one,
  pull,
  repositoryOf,
  two,
} from './catalog-fixtures.ts'
import { holdersContract } from './catalog-holders.contract.ts'
import { idleManifestsContract } from './catalog-idle-manifests.contract.ts'
import { listContract } from './catalog-lists.contract.ts'
import { localContract } from './catalog-local.contract.ts'
import { pinsContract } from './catalog-pins.contract.ts'
import { wishesContract } from './catalog-wishes.contract.ts'
import { writeContract } from './catalog-writes.contract.ts'

const others = [
  repositoryOf('quay.io', 'library/alpine'),
  repositoryOf('docker.io', 'library/alpine2'),
  repositoryOf('docker.io', 'alpine'),
  repositoryOf('docker.io:5000', 'library/alpine'),
]

/** What every implementation of `Catalog` keeps to. */
export function catalogContract(name: string, open: OpenCatalog): void {
  suite(`${name}: records`, () => recordContract(open))
  suite(`${name}: tags`, () => tagContract(open))
  suite(`${name}: repositories apart`, () => separationContract(open))
  suite(`${name}: evidence`, () => evidenceContract(open))
  suite(`${name}: what is local`, () => localContract(open))
  suite(`${name}: lists`, () => listContract(open))
  suite(`${name}: what is taken away`, () => collectionContract(open))
  suite(`${name}: idle manifests`, () => idleManifestsContract(open))
  suite(`${name}: bytes`, () => bytesContract(open))
  suite(`${name}: who has it`, () => holdersContract(open))
  suite(`${name}: pins`, () => pinsContract(open))
  suite(`${name}: facts`, () => factsContract(open))
  suite(`${name}: what is to be fetched later`, () => wishesContract(open))
  suite(`${name}: writes`, () => writeContract(open))
}

function recordContract(open: OpenCatalog): void {
  test('what was never recorded is undefined, or an empty list', async (t) => {
    const { catalog } = await open(t)
    assert.equal(await catalog.repository(alpine), undefined)
    assert.deepEqual(await catalog.repositories({ limit: 10 }), [])
    assert.equal(await catalog.tag(alpine, latest), undefined)
    assert.deepEqual(await catalog.tags(alpine), [])
    assert.equal(await catalog.manifest(alpine, one.digest), undefined)
    assert.equal(await catalog.held(alpine, one.digest), undefined)
    assert.equal(await catalog.named(alpine, one.digest), undefined)
    assert.equal(await catalog.isFree(one.digest, { at: 10_000, refusedAfter: 0 }), false)
    assert.equal(await catalog.blob(one.digest), undefined)
    assert.deepEqual(await catalog.usage(), nothingStored)
    assert.deepEqual(await catalog.blobs({ limit: 10 }), [])
    assert.equal(await catalog.fact('cache-max-size'), undefined)
    assert.equal(await catalog.upload('id'), undefined)
  })

  test('a manifest comes back to the byte, with its media type and what it names, also later', async (t) => {
    const { catalog, reopen } = await open(t)
    const odd = manifestOf('{"ä":\u0000"\\ud800"}\r\n ', 'application/vnd.odd+json; charset=utf-8')
    const config = { target: digestOf(Buffer.from('config'), 'sha512'), kind: 'config' } as const
    await catalog.pulled(alpine, odd, { ...anyone(5), references: [config, layerOf('layer', 12_345)] })
    for (const again of [async () => catalog, reopen]) {
      const opened = await again()
      const read = await opened.manifest(alpine, odd.digest)
      assert.deepEqual(read && { ...read, bytes: new Uint8Array(read.bytes) }, odd)
      assert.deepEqual(await opened.named(alpine, config.target), { kind: 'config', size: undefined })
      assert.deepEqual(await opened.named(alpine, blobOf('layer')), { kind: 'layer', size: 12_345 })
    }
  })

  test('the same manifest again: the last media type counts, and what it was last found to name', async (t) => {
    const { catalog } = await open(t)
    await catalog.pulled(alpine, one, { ...anyone(1), references: [layerOf('old')] })
    const again = { ...one, mediaType: 'application/other' }
    await catalog.pulled(alpine, again, { ...anyone(2), references: [layerOf('new')] })
    assert.equal((await catalog.manifest(alpine, one.digest))?.mediaType, 'application/other')
    assert.equal(await catalog.named(alpine, blobOf('old')), undefined)
    assert.ok(await catalog.named(alpine, blobOf('new')))
  })

  test('other bytes under the same digest take the place of those that are there', async (t) => {
    const { catalog, reopen } = await open(t)
    await pull(catalog, alpine, { ...one, bytes: new Uint8Array(Buffer.from('{"one":!}')) })
    await pull(catalog, alpine, one, 2)
    for (const again of [async () => catalog, reopen]) {
      const opened = await again()
      assert.equal(
        Buffer.compare((await opened.manifest(alpine, one.digest))?.bytes ?? Buffer.of(), one.bytes),
        0,
      )
    }
  })

  test('a manifest of 4 MiB, and one of no bytes', async (t) => {
    const { catalog } = await open(t)
    for (const manifest of [manifestOf('x'.repeat(4 * 1024 * 1024)), manifestOf('')]) {
      await pull(catalog, alpine, manifest)
      const read = await catalog.manifest(alpine, manifest.digest)
      assert.equal(Buffer.compare(read?.bytes ?? Buffer.alloc(1), manifest.bytes), 0)
    }
  })

  test('what a manifest names more than once is told as what belongs to it, not as its subject', async (t) => {
    const { catalog } = await open(t)
    const target = blobOf('thing')
    const references = (['subject', 'layer'] as const).map((kind, size) => ({ target, kind, size }))
    await catalog.pulled(alpine, one, { ...anyone(1), references })
    await catalog.pulled(alpine, two, { ...anyone(1), references: [{ target, kind: 'config', size: 9 }] })
    assert.deepEqual(await catalog.named(alpine, target), { kind: 'config', size: 9 })
  })

  test('who names a subject is listed by digest, page by page', async (t) => {
    const { catalog } = await open(t)
    const subject = blobOf('subject')
    const manifests = Array.from({ length: 5 }, (_, n) => manifestOf(`{"n":${n}}`))
    for (const [n, manifest] of manifests.entries()) {
      const artifactType = n === 0 ? undefined : `type/${n}`
      const references = [{ target: subject, kind: 'subject', artifactType } as const]
      await catalog.pulled(alpine, manifest, { ...anyone(1), references })
    }
    const expected = manifests
      .map(({ digest }, n) => ({ manifest: digest, artifactType: n === 0 ? undefined : `type/${n}` }))
      .toSorted((a, b) => (a.manifest < b.manifest ? -1 : 1))
    assert.deepEqual(await catalog.naming(alpine, subject, 'subject', { limit: 100 }), expected)
    const after = expected[1]?.manifest
    assert.deepEqual(
      await catalog.naming(alpine, subject, 'subject', { after, limit: 2 }),
      expected.slice(2, 4),
    )
    assert.deepEqual(await catalog.naming(alpine, subject, 'layer', { limit: 100 }), [])
  })

  test('what refers to a manifest comes back as it was, also that nothing does, also later', async (t) => {
    const { catalog, reopen } = await open(t)
    const [subject, other] = [one.digest, digestOf(Buffer.from('x'), 'sha512')]
    const referrer = { mediaType: 'a/b', digest: two.digest, size: 5, annotations: { 'ä"': '\u0000\ud800' } }
    await pull(catalog, alpine)
    assert.equal(await catalog.referrers(alpine, subject), undefined)
    assert.ok(await catalog.saveReferrers(alpine, subject, { referrers: [referrer], checkedAt: 1 }))
    await catalog.saveReferrers(alpine, other, { referrers: [], checkedAt: 2 })
    for (const again of [async () => catalog, reopen]) {
      const opened = await again()
      assert.deepEqual(await opened.referrers(alpine, subject), { referrers: [referrer], checkedAt: 1 })
      assert.deepEqual(await opened.referrers(alpine, other), { referrers: [], checkedAt: 2 })
      for (const elsewhere of others) assert.equal(await opened.referrers(elsewhere, subject), undefined)
    }
    const later = await reopen()
    await later.saveReferrers(alpine, subject, { referrers: [], checkedAt: 3 })
    assert.deepEqual(await later.referrers(alpine, subject), { referrers: [], checkedAt: 3 })
  })

  test('what refers to something in a repository that is not known leaves no record', async (t) => {
    const { catalog } = await open(t)
    assert.equal(await catalog.saveReferrers(alpine, one.digest, { referrers: [], checkedAt: 1 }), false)
    assert.equal(await catalog.referrers(alpine, one.digest), undefined)
    assert.equal(await catalog.repository(alpine), undefined)
  })
}

function tagContract(open: OpenCatalog): void {
  test('a tag tells its digest and when its upstream last said so', async (t) => {
    const { catalog, reopen } = await open(t)
    await pull(catalog, alpine, two)
    await pull(catalog, alpine, one, 1_900_000_000_000, latest)
    assert.deepEqual(await catalog.tag(alpine, latest), { digest: one.digest, checkedAt: 1_900_000_000_000 })
    assert.equal(await catalog.checked(alpine, latest, one.digest, anyone(1_900_000_000_001)), true)
    assert.deepEqual(await catalog.tag(alpine, latest), { digest: one.digest, checkedAt: 1_900_000_000_001 })
    assert.equal(await catalog.checked(alpine, latest, two.digest, anyone(1_900_000_000_500)), true)
    const moved = { digest: two.digest, checkedAt: 1_900_000_000_500 }
    assert.deepEqual(await catalog.tag(alpine, latest), moved)
    assert.deepEqual(await (await reopen()).tag(alpine, latest), moved)
  })

  test('a tag is not pointed at a manifest that its repository has not got', async (t) => {
    const { catalog } = await open(t)
    await pull(catalog, alpine, one, 1, latest)
    await pull(catalog, others[0] ?? alpine, two)
    await catalog.confirmed(alpine, blobOf('blob'), anyone(2))
    for (const digest of [two.digest, blobOf('blob')]) {
      assert.equal(await catalog.checked(alpine, latest, digest, anyone(9)), false)
    }
    assert.deepEqual(await catalog.tag(alpine, latest), { digest: one.digest, checkedAt: 1 })
    assert.equal(await catalog.held(alpine, two.digest), undefined)
  })

  test('tags are listed in ASCII order, each once, page by page', async (t) => {
    const { catalog } = await open(t)
    for (const tag of ['b', 'B', '3.10', '3.9', '_x', 'a-b', 'a.b', 'a', 'b', '10', 'aZ', 'az']) {
      await pull(catalog, alpine, one, 1, tag)
    }
    const expected = ['10', '3.10', '3.9', 'B', '_x', 'a', 'a-b', 'a.b', 'aZ', 'az', 'b']
    assert.deepEqual(await catalog.tags(alpine), expected)
    assert.deepEqual(await catalog.tags(alpine, { limit: 3 }), expected.slice(0, 3))
    assert.deepEqual(await catalog.tags(alpine, { after: 'B' as Tag, limit: 2 }), ['_x', 'a'])
    assert.deepEqual(await catalog.tags(alpine, { after: 'a0' as Tag }), ['aZ', 'az', 'b'])
    assert.deepEqual(await catalog.tags(alpine, { limit: 0 }), [])
  })

  test('tags that differ in case alone are two', async (t) => {
    const { catalog } = await open(t)
    await pull(catalog, alpine, one, 1, 'Edge')
    assert.equal(await catalog.tag(alpine, 'edge' as Tag), undefined)
  })
}

function separationContract(open: OpenCatalog): void {
  for (const other of others) {
    test(`nothing of docker.io:library/alpine is seen in ${other}`, async (t) => {
      const { catalog } = await open(t)
      await catalog.pulled(alpine, one, { ...anyone(1), tag: latest, references: [layerOf('layer')] })
      await catalog.confirmed(alpine, blobOf('blob'), anyone(1))
      await catalog.refused(alpine, 2)
      // That the other one exists, and has content of its own, opens nothing.
      await pull(catalog, other, two)
      assert.equal(await catalog.tag(other, latest), undefined)
      assert.deepEqual(await catalog.tags(other), [])
      for (const digest of [one.digest, blobOf('layer'), blobOf('blob')]) {
        assert.equal(await catalog.held(other, digest), undefined)
        assert.equal(await catalog.named(other, digest), undefined)
      }
      assert.deepEqual(await catalog.repository(other), { refusedSince: undefined })
    })
  }

  test('the same manifest in two repositories: each has its own record, the bytes are anyone’s', async (t) => {
    const { catalog } = await open(t)
    const [other = alpine, third = alpine] = others
    await catalog.pulled(alpine, one, { ...anyone(1), tag: latest, references: [layerOf('layer', 7)] })
    const there = { ...one, mediaType: 'application/other' }
    await catalog.pulled(other, there, { ...anyone(2), references: [layerOf('layer', 1)] })
    await catalog.pulled(other, two, { ...anyone(2), tag: latest, references: [] })
    assert.equal((await catalog.manifest(alpine, one.digest))?.mediaType, one.mediaType)
    assert.equal((await catalog.manifest(other, one.digest))?.mediaType, 'application/other')
    assert.equal((await catalog.manifest(third, one.digest))?.mediaType, one.mediaType)
    assert.equal((await catalog.named(alpine, blobOf('layer')))?.size, 7)
    assert.equal((await catalog.named(other, blobOf('layer')))?.size, 1)
    assert.equal((await catalog.tag(alpine, latest))?.digest, one.digest)
    assert.equal((await catalog.tag(other, latest))?.digest, two.digest)
  })

  test('repositories are listed by origin and name, page by page', async (t) => {
    const { catalog } = await open(t)
    const all = [alpine, ...others]
    for (const repository of all) await catalog.confirmed(repository, blobOf('x'), anyone(1))
    const expected = [
      'docker.io:alpine',
      'docker.io:library/alpine',
      'docker.io:library/alpine2',
      'docker.io:5000:library/alpine',
      'quay.io:library/alpine',
    ] as RepositoryKey[]
    assert.deepEqual(await catalog.repositories({ limit: 10 }), expected)
    for (const [n, after] of expected.entries()) {
      assert.deepEqual(await catalog.repositories({ after, limit: 2 }), expected.slice(n + 1, n + 3))
    }
    const ofHub = { origin: 'docker.io', limit: 2 }
    assert.deepEqual(await catalog.repositories(ofHub), expected.slice(0, 2))
    assert.deepEqual(await catalog.repositories({ ...ofHub, after: alpine }), expected.slice(2, 3))
  })
}
