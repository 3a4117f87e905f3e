import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import {
  filterReferrers,
  formatReferrers,
  mergeReferrers,
  pageOfReferrers,
  parseReferrers,
  type Referrer,
  referrersTag,
} from '../../src/oci/referrers.ts'

const digest = digestOf(Buffer.from('one'))
const mediaType = 'application/vnd.oci.image.manifest.v1+json'
const plain = { mediaType, digest, size: 5 }
const indexOf = (...manifests: unknown[]) => Buffer.from(JSON.stringify({ schemaVersion: 2, manifests }))

test('a descriptor keeps the fields of the specification, and no others', () => {
  const whole = {
    ...plain,
    artifactType: 'application/vnd.Example+json',
    annotations: { created: '2026', empty: '' },
    platform: { architecture: 'arm64', os: 'linux', variant: 'v8', 'os.version': '1', 'os.features': ['a'] },
  }
  const extra = {
    urls: ['http://127.0.0.1/'],
    data: 'aGk=',
    x: 1,
    annotations: { ...whole.annotations, n: 1, o: {}, z: null },
    platform: { ...whole.platform, 'os.features': ['a', 5], more: 'y' },
  }
  assert.deepEqual(parseReferrers(indexOf({ ...whole, ...extra })), [whole])
})

const dropped: readonly unknown[] = [
  null,
  'text',
  [],
  {},
  { ...plain, digest: 'sha256:short' },
  { ...plain, digest: `md5:${'0'.repeat(32)}` },
  { ...plain, digest: digest.toUpperCase() },
  { ...plain, digest: `${digest}\n` },
  { ...plain, size: -1 },
  { ...plain, size: 1.5 },
  { ...plain, size: '5' },
  { ...plain, size: 2 ** 53 },
  { digest, size: 5 },
  { ...plain, mediaType: 'nothing' },
  { ...plain, mediaType: `a/${'b'.repeat(300)}` },
]

for (const entry of dropped) {
  test(`${JSON.stringify(entry)?.slice(0, 60)} is no descriptor, and takes no other along`, () => {
    const other = { ...plain, digest: digestOf(Buffer.from('two')) }
    assert.deepEqual(parseReferrers(indexOf(entry, other)), [other])
  })
}

for (const field of [
  { artifactType: 'nothing' },
  { annotations: [] },
  { platform: { os: 'linux' } },
  { platform: 5 },
]) {
  test(`an odd ${Object.keys(field)} is left out`, () =>
    assert.deepEqual(parseReferrers(indexOf({ ...plain, ...field })), [plain]))
}

for (const [text, isList] of [
  ['{"manifests":null}', true],
  ['{"mediaType":"","manifests":[]}', true],
  ['{"manifests":[],"mediaType":"application/vnd.oci.image.index.v1+json"}', true],
  ['{"manifests":[],"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json"}', true],
  ['{"manifests":[],"mediaType":"application/vnd.oci.image.manifest.v1+json"}', false],
  ['{"manifests":[],"mediaType":5}', false],
  ['{"manifests":{}}', false],
  ['{}', false],
  ['{"errors":[]}', false],
  ['[]', false],
  ['<html></html>', false],
  ['', false],
  [`{"manifests":${'['.repeat(100)}${']'.repeat(100)}}`, false],
] as const) {
  test(`${text.slice(0, 80)} is ${isList ? 'an empty list' : 'no list of referrers'}`, () => {
    if (isList) assert.deepEqual(parseReferrers(Buffer.from(text)), [])
    else assert.throws(() => parseReferrers(Buffer.from(text)), { name: 'RegistryError', status: 502 })
  })
}

test('a name such as __proto__ is only a name', () => {
  const bytes = Buffer.from(
    `{"manifests":[{"mediaType":"${mediaType}","digest":"${digest}","size":5,"annotations":{"__proto__":"x"}}]}`,
  )
  const [found] = parseReferrers(bytes)
  assert.equal(JSON.stringify(found?.annotations), '{"__proto__":"x"}')
})

test('merged lists have each digest once, the first one counts', () => {
  const other = { ...plain, digest: digestOf(Buffer.from('two')) }
  assert.deepEqual(mergeReferrers([plain], [{ ...plain, size: 9 }, other], []), [plain, other])
})

test('the filter compares types as media types are, and several are alternatives', () => {
  const [one, two, none] = ['a/One', 'b/two', undefined].map((artifactType) => ({
    ...plain,
    ...(artifactType && { artifactType }),
  })) as [Referrer, Referrer, Referrer]
  assert.deepEqual(filterReferrers([one, two, none], ['a/one']), [one])
  assert.deepEqual(filterReferrers([one, two, none], ['a/One', 'b/two']), [one, two])
  assert.deepEqual(filterReferrers([one, two, none], []), [one, two, none])
})

test('the tag of the schema is a tag for both algorithms', () => {
  assert.equal(referrersTag(digest), digest.replace(':', '-'))
  assert.equal(referrersTag(`sha512:${'ab'.repeat(64)}` as Digest), `sha512-${'ab'.repeat(32)}`)
})

test('a list of more than 4 MiB is several pages, which together are the list', () => {
  const all = Array.from({ length: 3000 }, (_, index) => ({
    ...plain,
    digest: digestOf(Buffer.from(String(index))),
    annotations: { text: 'ä'.repeat(1000) },
  }))
  const found: Referrer[] = []
  let pages = 0
  let from: string | undefined
  do {
    const page = pageOfReferrers(all, from)
    const body = formatReferrers(page.referrers)
    assert.ok(body.length <= 4 * 1024 * 1024)
    found.push(...JSON.parse(body.toString()).manifests)
    from = page.next
    pages += 1
  } while (from !== undefined)
  assert.deepEqual(found, all)
  assert.equal(pages, 2)
})

test('a referrer that is larger than an answer is a page of its own, and a page is asked for by a link', () => {
  const large = { ...plain, annotations: { text: 'x'.repeat(5 * 1024 * 1024) } }
  const all = [plain, large, plain]
  assert.deepEqual(pageOfReferrers(all, undefined), { referrers: [plain], next: '1' })
  assert.deepEqual(pageOfReferrers(all, '1'), { referrers: [large], next: '2' })
  assert.deepEqual(pageOfReferrers(all, '2'), { referrers: [plain], next: undefined })
  assert.deepEqual(pageOfReferrers(all, '9'), { referrers: [], next: undefined })
  for (const from of ['', '-1', 'x', '1.5', '12345678']) {
    assert.throws(() => pageOfReferrers(all, from), { code: 'PAGINATION_NUMBER_INVALID', status: 400 })
  }
})
