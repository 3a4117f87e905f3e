import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { DocumentReader } from '../../src/oci/document-reader.ts'
import type { Tag } from '../../src/oci/reference.ts'
import { type Referrer, referrersTag } from '../../src/oci/referrers.ts'
import { LocalReferrers } from '../../src/registry/local-referrers.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { app, manifestOf, other } from '../storage/catalog-fixtures.ts'

const subject = digestOf(Buffer.from('subject'))
const indexType = 'application/vnd.oci.image.index.v1+json'
const empty = { mediaType: 'application/vnd.oci.empty.v1+json', digest: digestOf(Buffer.from('{}')), size: 2 }

/** A manifest that says that it refers to the subject, or does not say so. */
function artifact(n: number, type = 'type/a', { isNaming = true, text = '' } = {}) {
  const named = isNaming ? { subject: { mediaType: 'a/b', digest: subject, size: 1 } } : {}
  const annotations = { n: String(n), text }
  const document = { schemaVersion: 2, artifactType: type, config: empty, layers: [], annotations, ...named }
  const manifest = manifestOf(JSON.stringify(document))
  const listed: Referrer = {
    mediaType: manifest.mediaType,
    digest: manifest.digest,
    size: manifest.bytes.length,
    artifactType: type,
    annotations,
  }
  return { manifest, listed, type, isNaming }
}

type Artifact = ReturnType<typeof artifact>

function start() {
  const catalog = new MemoryCatalog()
  const referrers = new LocalReferrers({ catalog, documents: new DocumentReader() })
  const list = (artifactTypes: string[] = [], from?: string, of = subject) =>
    referrers.page(app, of, { artifactTypes, from })
  const put = async ({ manifest, type, isNaming }: Artifact, repository = app) => {
    const references = isNaming ? [{ target: subject, kind: 'subject', artifactType: type } as const] : []
    await catalog.putManifest(repository, manifest, { references, tags: [], at: 1 })
  }
  /** What a client does that knows no list of referrers. */
  const putUnderTag = async (content: string) => {
    const index = manifestOf(content, indexType)
    await catalog.putManifest(app, index, { references: [], tags: [referrersTag(subject)], at: 1 })
  }
  return { catalog, list, put, putUnderTag }
}

function indexOf(...artifacts: readonly Artifact[]): string {
  const manifests = artifacts.map(({ listed: { mediaType, digest, size } }) => ({ mediaType, digest, size }))
  return JSON.stringify({ schemaVersion: 2, mediaType: indexType, manifests })
}

function inOrder(artifacts: readonly Artifact[]): Referrer[] {
  return artifacts.map(({ listed }) => listed).toSorted((one, two) => (one.digest < two.digest ? -1 : 1))
}

test('the list of who names it, and of who is under its tag, each once, by their digests', async () => {
  const { list, put, putUnderTag } = start()
  assert.deepEqual(await list(), { referrers: [], next: undefined })
  const naming = [1, 2, 3, 4].map((n) => artifact(n))
  const tagged = [5, 6, 7].map((n) => artifact(n, 'type/b', { isNaming: false }))
  for (const one of [...naming, ...tagged]) await put(one)
  assert.deepEqual((await list()).referrers, inOrder(naming))
  await putUnderTag(indexOf(...tagged, ...naming.slice(0, 2), artifact(8)))
  assert.deepEqual(await list(), { referrers: inOrder([...naming, ...tagged]), next: undefined })
  assert.deepEqual((await list(['TYPE/B'])).referrers, inOrder(tagged))
  assert.deepEqual((await list(['type/a', 'type/b'])).referrers, inOrder([...naming, ...tagged]))
  assert.deepEqual((await list(['type/c'])).referrers, [])
  for (const { digest } of inOrder([...naming, ...tagged])) {
    const rest = inOrder([...naming, ...tagged]).filter((one) => one.digest > digest)
    assert.deepEqual((await list([], digest)).referrers, rest)
  }
})

test('what lies under the tag and is no list of referrers is none', async () => {
  const { list, put, putUnderTag } = start()
  const one = artifact(1)
  await put(one)
  for (const content of ['{', '{}', '{"manifests":{}}', '[]', 'x'.repeat(1000), indexOf()]) {
    await putUnderTag(content)
    assert.deepEqual((await list()).referrers, [one.listed], content)
  }
})

test('what is not in this repository is not listed, whatever an index says, nor what was deleted', async () => {
  const { catalog, list, put, putUnderTag } = start()
  const [elsewhere, here] = [artifact(1), artifact(2)]
  await put(elsewhere, other)
  await put(here)
  await putUnderTag(indexOf(elsewhere, here))
  assert.deepEqual((await list()).referrers, [here.listed])
  await catalog.deleteManifest(app, here.manifest.digest, 2)
  assert.deepEqual((await list()).referrers, [])
})

test('one whose bytes are damaged is left out, and hides none of the others', async () => {
  const { catalog, list, put } = start()
  const [damaged, well] = [artifact(1), artifact(2)]
  for (const one of [damaged, well]) await put(one)
  catalog.tables.manifests.set(damaged.manifest.digest, Buffer.from('{"schemaVersion":2'))
  assert.deepEqual((await list()).referrers, [well.listed])
})

test('a list of more than 4 MiB is several pages, between which others may be pushed', async () => {
  const { list, put } = start()
  const all = Array.from({ length: 12 }, (_, n) => artifact(n, 'type/a', { text: 'x'.repeat(700_000) }))
  for (const one of all) await put(one)
  const found: Referrer[] = []
  let pages = 0
  for (let from: string | undefined, isFirst = true; isFirst || from !== undefined; isFirst = false) {
    const page = await list(['type/a'], from)
    assert.ok(Buffer.byteLength(JSON.stringify(page.referrers)) <= 4 * 1024 * 1024)
    found.push(...page.referrers)
    from = page.next
    pages += 1
    // One before where the next page begins; what comes behind it would be in there.
    if (from !== undefined) await put(before(from as Digest))
  }
  assert.deepEqual(found, inOrder(all))
  assert.equal(pages, 3)
})

function before(digest: Digest): Artifact {
  for (let n = 100; ; n += 1) {
    const one = artifact(n)
    if (one.manifest.digest < digest) return one
  }
}

test('a page is begun by a link alone', async () => {
  const { list } = start()
  for (const from of ['', '0', 'sha256:x', 'latest' as Tag]) {
    await assert.rejects(list([], from), { code: 'PAGINATION_NUMBER_INVALID', status: 400 })
  }
})

test('a thousand of another type cost no reading of their bytes', async () => {
  const { catalog, list, put } = start()
  for (let n = 0; n < 1000; n += 1) await put(artifact(n))
  let reads = 0
  const read = catalog.manifest.bind(catalog)
  catalog.manifest = (...asked) => {
    reads += 1
    return read(...asked)
  }
  assert.deepEqual((await list(['type/b'])).referrers, [])
  assert.equal(reads, 0)
})
