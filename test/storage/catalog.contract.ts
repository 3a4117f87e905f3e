import assert from 'node:assert/strict'
import { suite, type TestContext, test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import type { Tag } from '../../src/oci/reference.ts'
import { parseRepositoryName } from '../../src/oci/repository-name.ts'
import type { Catalog, RepositoryId } from '../../src/storage/catalog.ts'

/** A catalog under test, empty at first. `t.after` closes what is open at the end. */
export interface OpenedCatalog {
  readonly catalog: Catalog
  /** Closes it and opens what it left, as a later process does. */
  readonly reopen: () => Promise<Catalog>
}

type OpenCatalog = (t: TestContext) => Promise<OpenedCatalog>

export function repositoryOf(upstream: string, name: string): RepositoryId {
  return { upstream, name: parseRepositoryName(name) }
}

export function manifestOf(text: string, mediaType = 'application/vnd.oci.image.manifest.v1+json') {
  const bytes = new Uint8Array(Buffer.from(text))
  return { digest: digestOf(bytes), mediaType, bytes }
}

const alpine = repositoryOf('docker.io', 'library/alpine')
const others = [
  repositoryOf('quay.io', 'library/alpine'),
  repositoryOf('docker.io', 'library/alpine2'),
  repositoryOf('docker.io', 'alpine'),
]
const one = manifestOf('{"one":1}')
const two = manifestOf('{"two":2}')
const layer = { digest: digestOf(Buffer.from('layer')), size: 12_345 }
const latest = 'latest' as Tag

/** What every implementation of `Catalog` keeps to. */
export function catalogContract(name: string, open: OpenCatalog): void {
  suite(`${name}: records`, () => recordContract(open))
  suite(`${name}: repositories apart`, () => separationContract(open))
  suite(`${name}: writes`, () => writeContract(open))
}

function recordContract(open: OpenCatalog): void {
  test('what was never recorded is undefined, or an empty list', async (t) => {
    const { catalog } = await open(t)
    assert.equal(await catalog.tag(alpine, latest), undefined)
    assert.deepEqual(await catalog.tags(alpine), [])
    assert.equal(await catalog.manifest(alpine, one.digest), undefined)
    assert.equal(await catalog.blob(alpine, layer.digest), undefined)
    assert.equal(await catalog.publicity(alpine), undefined)
  })

  test('a manifest comes back to the byte, with its media type and blobs, also later', async (t) => {
    const { catalog, reopen } = await open(t)
    const odd = manifestOf('{"ä":\u0000"\\ud800"}\r\n ', 'application/vnd.odd+json; charset=utf-8')
    const unsized = { digest: digestOf(Buffer.from('config'), 'sha512'), size: undefined }
    await catalog.saveManifest(alpine, odd, [layer, unsized])
    for (const again of [async () => catalog, reopen]) {
      const opened = await again()
      const read = await opened.manifest(alpine, odd.digest)
      assert.deepEqual(read && { ...read, bytes: new Uint8Array(read.bytes) }, odd)
      assert.deepEqual(await opened.blob(alpine, layer.digest), layer)
      assert.deepEqual(await opened.blob(alpine, unsized.digest), unsized)
    }
  })

  test('the same manifest again: the last media type counts', async (t) => {
    const { catalog } = await open(t)
    await catalog.saveManifest(alpine, one, [])
    await catalog.saveManifest(alpine, { ...one, mediaType: 'application/other' }, [layer])
    assert.equal((await catalog.manifest(alpine, one.digest))?.mediaType, 'application/other')
    assert.deepEqual(await catalog.blob(alpine, layer.digest), layer)
  })

  test('a manifest of 4 MiB, and one of no bytes', async (t) => {
    const { catalog } = await open(t)
    for (const manifest of [manifestOf('x'.repeat(4 * 1024 * 1024)), manifestOf('')]) {
      await catalog.saveManifest(alpine, manifest, [])
      const read = await catalog.manifest(alpine, manifest.digest)
      assert.equal(Buffer.compare(read?.bytes ?? Buffer.alloc(1), manifest.bytes), 0)
    }
  })

  test('a tag tells its digest and when its upstream last said so', async (t) => {
    const { catalog, reopen } = await open(t)
    await catalog.saveManifest(alpine, one, [])
    await catalog.saveManifest(alpine, two, [])
    const record = { digest: one.digest, checkedAt: 1_900_000_000_000 }
    await catalog.saveTag(alpine, latest, record)
    assert.deepEqual(await catalog.tag(alpine, latest), record)
    const checked = { ...record, checkedAt: record.checkedAt + 1 }
    await catalog.saveTag(alpine, latest, checked)
    assert.deepEqual(await catalog.tag(alpine, latest), checked)
    const moved = { digest: two.digest, checkedAt: 1_900_000_000_500 }
    await catalog.saveTag(alpine, latest, moved)
    assert.deepEqual(await catalog.tag(alpine, latest), moved)
    assert.deepEqual(await (await reopen()).tag(alpine, latest), moved)
  })

  test('tags are listed in ASCII order, each once', async (t) => {
    const { catalog } = await open(t)
    await catalog.saveManifest(alpine, one, [])
    const record = { digest: one.digest, checkedAt: 1 }
    for (const tag of ['b', 'B', '3.10', '3.9', '_x', 'a-b', 'a.b', 'a', 'b', '10', 'aZ', 'az']) {
      await catalog.saveTag(alpine, tag as Tag, record)
    }
    const expected = ['10', '3.10', '3.9', 'B', '_x', 'a', 'a-b', 'a.b', 'aZ', 'az', 'b']
    assert.deepEqual(await catalog.tags(alpine), expected)
  })

  test('tags that differ in case alone are two', async (t) => {
    const { catalog } = await open(t)
    await catalog.saveTag(alpine, 'Edge' as Tag, { digest: one.digest, checkedAt: 1 })
    assert.equal(await catalog.tag(alpine, 'edge' as Tag), undefined)
  })

  test('what refers to a manifest comes back as it was, also that nothing does, also later', async (t) => {
    const { catalog, reopen } = await open(t)
    const [subject, other] = [one.digest, digestOf(Buffer.from('x'), 'sha512')]
    const referrer = { mediaType: 'a/b', digest: two.digest, size: 5, annotations: { 'ä"': '\u0000\ud800' } }
    assert.equal(await catalog.referrers(alpine, subject), undefined)
    await catalog.saveReferrers(alpine, subject, { referrers: [referrer], checkedAt: 1 })
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

  test('a size once known is not forgotten', async (t) => {
    const { catalog } = await open(t)
    await catalog.saveBlob(alpine, { ...layer, size: undefined })
    assert.deepEqual(await catalog.blob(alpine, layer.digest), { ...layer, size: undefined })
    await catalog.saveBlob(alpine, layer)
    await catalog.saveBlob(alpine, { ...layer, size: undefined })
    assert.deepEqual(await catalog.blob(alpine, layer.digest), layer)
    await catalog.saveBlob(alpine, { ...layer, size: 0 })
    assert.deepEqual(await catalog.blob(alpine, layer.digest), { ...layer, size: 0 })
  })

  test('whether everybody may read a repository: unknown, then as last found out', async (t) => {
    const { catalog, reopen } = await open(t)
    await catalog.saveManifest(alpine, one, [])
    assert.equal(await catalog.publicity(alpine), undefined)
    await catalog.savePublicity(alpine, { isPublic: true, askedAt: 1000 })
    assert.deepEqual(await catalog.publicity(alpine), { isPublic: true, askedAt: 1000 })
    await catalog.savePublicity(alpine, { isPublic: false, askedAt: 2000 })
    assert.deepEqual(await catalog.publicity(alpine), { isPublic: false, askedAt: 2000 })
    assert.deepEqual(await (await reopen()).publicity(alpine), { isPublic: false, askedAt: 2000 })
  })
}

function separationContract(open: OpenCatalog): void {
  for (const other of others) {
    test(`nothing of docker.io library/alpine is seen in ${other.upstream} ${other.name}`, async (t) => {
      const { catalog } = await open(t)
      await catalog.saveManifest(alpine, one, [layer])
      await catalog.saveTag(alpine, latest, { digest: one.digest, checkedAt: 1 })
      await catalog.savePublicity(alpine, { isPublic: true, askedAt: 1000 })
      // That the other one exists, and has content of its own, opens nothing.
      await catalog.saveManifest(other, two, [])
      assert.equal(await catalog.tag(other, latest), undefined)
      assert.deepEqual(await catalog.tags(other), [])
      assert.equal(await catalog.manifest(other, one.digest), undefined)
      assert.equal(await catalog.blob(other, layer.digest), undefined)
      assert.equal(await catalog.publicity(other), undefined)
    })
  }

  test('the same manifest and blob in two repositories: each has its own record', async (t) => {
    const { catalog } = await open(t)
    const [other = alpine] = others
    await catalog.saveManifest(alpine, one, [layer])
    await catalog.saveManifest(other, { ...one, mediaType: 'application/other' }, [{ ...layer, size: 1 }])
    await catalog.saveTag(alpine, latest, { digest: one.digest, checkedAt: 1 })
    await catalog.saveTag(other, latest, { digest: two.digest, checkedAt: 2 })
    assert.equal((await catalog.manifest(alpine, one.digest))?.mediaType, one.mediaType)
    assert.equal((await catalog.manifest(other, one.digest))?.mediaType, 'application/other')
    assert.equal((await catalog.blob(alpine, layer.digest))?.size, layer.size)
    assert.equal((await catalog.tag(alpine, latest))?.digest, one.digest)
    assert.equal((await catalog.tag(other, latest))?.digest, two.digest)
  })

  test('a blob that the upstream confirmed for one repository is not readable for another', async (t) => {
    const { catalog } = await open(t)
    await catalog.saveBlob(alpine, layer)
    assert.deepEqual(await catalog.blob(alpine, layer.digest), layer)
    for (const other of others) assert.equal(await catalog.blob(other, layer.digest), undefined)
  })
}

function writeContract(open: OpenCatalog): void {
  test('hundreds of writes at once all resolve, are seen at once, and are there later', async (t) => {
    const { catalog, reopen } = await open(t)
    const count = 400
    const tagOf = (n: number) => `t${n}` as Tag
    const recordOf = (n: number) => ({ digest: manifestOf(`{"n":${n % 50}}`).digest, checkedAt: n })
    const write = async (n: number) => {
      const repository = repositoryOf('docker.io', `library/r${n % 7}`)
      await catalog.saveManifest(repository, manifestOf(`{"n":${n % 50}}`), [{ ...layer, size: n }])
      await catalog.saveTag(repository, tagOf(n), recordOf(n))
      assert.deepEqual(await catalog.tag(repository, tagOf(n)), recordOf(n))
    }
    await Promise.all(Array.from({ length: count }, (_, n) => write(n)))
    const later = await reopen()
    for (let n = 0; n < count; n += 1) {
      const repository = repositoryOf('docker.io', `library/r${n % 7}`)
      assert.deepEqual(await later.tag(repository, tagOf(n)), recordOf(n))
      assert.ok(await later.manifest(repository, recordOf(n).digest))
    }
  })

  test('writes of one tag at once: the last one counts', async (t) => {
    const { catalog } = await open(t)
    await Promise.all(
      Array.from({ length: 100 }, (_, n) =>
        catalog.saveTag(alpine, latest, { digest: (n % 2 ? one : two).digest, checkedAt: n }),
      ),
    )
    assert.deepEqual(await catalog.tag(alpine, latest), { digest: one.digest, checkedAt: 99 })
  })

  test('a write that fails takes none of those beside it along, and leaves nothing of its own', async (t) => {
    const { catalog } = await open(t)
    const bad = { digest: one.digest, checkedAt: Number.NaN }
    const badBlobs = [layer, { digest: two.digest, size: 0.5 }]
    const [other = alpine] = others
    const outcomes = await Promise.allSettled([
      catalog.saveTag(alpine, 'a' as Tag, { digest: one.digest, checkedAt: 1 }),
      catalog.saveTag(alpine, 'b' as Tag, bad),
      catalog.saveManifest(other, two, badBlobs),
      catalog.saveTag(alpine, 'c' as Tag, { digest: one.digest, checkedAt: 1 }),
    ])
    assert.deepEqual(
      outcomes.map((outcome) => outcome.status),
      ['fulfilled', 'rejected', 'rejected', 'fulfilled'],
    )
    for (const outcome of outcomes)
      assert.ok(outcome.status === 'fulfilled' || outcome.reason instanceof Error)
    assert.deepEqual(await catalog.tags(alpine), ['a', 'c'])
    assert.equal(await catalog.manifest(other, two.digest), undefined, 'a transaction is whole or not at all')
    assert.equal(await catalog.blob(other, layer.digest), undefined)
    await catalog.saveTag(alpine, 'b' as Tag, { digest: one.digest, checkedAt: 1 })
    assert.deepEqual(await catalog.tags(alpine), ['a', 'b', 'c'])
  })

  test('what was being written when it was closed is there later', async (t) => {
    const { catalog, reopen } = await open(t)
    const writes = Array.from({ length: 50 }, (_, n) =>
      catalog.saveTag(alpine, `t${n}` as Tag, { digest: one.digest, checkedAt: n }),
    )
    const [later] = await Promise.all([reopen(), ...writes])
    assert.equal((await later.tags(alpine)).length, 50)
  })

  test('a write after it was closed rejects', async (t) => {
    const { catalog, reopen } = await open(t)
    await reopen()
    await assert.rejects(catalog.saveTag(alpine, latest, { digest: one.digest, checkedAt: 1 }), Error)
  })
}
