import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Digest } from '../src/oci/digest.ts'
import type { RepositoryName } from '../src/oci/repository-name.ts'
import { localOrigin, type RepositoryKey, repositoryKey } from '../src/storage/repository-key.ts'
import { SqliteCatalog } from '../src/storage/sqlite/sqlite-catalog.ts'
import {
  baseLayer,
  blobAt,
  type Filling,
  fillCatalog,
  manifestAt,
  repositoryAt,
  tagAt,
} from './support/catalog-filling.ts'
import { describeMachine, writeResults } from './support/report.ts'
import { markdown, type Table } from './support/table.ts'
import { showCount, showMilliseconds, showSize } from './support/units.ts'

/** What a question takes, of the times of many in microseconds. */
interface Times {
  readonly median: number
  /** Of a hundred, the second slowest. */
  readonly slow: number
}

const usage = 'npm run bench:catalog -- [--quick] [--write]'
const full: Filling = {
  repositories: 100_000,
  blobs: 10,
  idle: 20_000,
  subjects: 139,
  referrers: 500,
  tags: 1000,
  manifestBytes: 1000,
}
const quick: Filling = { ...full, repositories: 1000, idle: 200, subjects: 10 }
const page = 100

const everRefused = { at: 1e13, refusedAfter: 0 }
const { values } = parseArgs({
  options: { quick: { type: 'boolean' }, write: { type: 'boolean' }, help: { type: 'boolean' } },
})
if (values.help) process.stdout.write(`usage: ${usage}\n`)
else await main(values.quick ? quick : full, values.write ?? false)

async function main(filling: Filling, isWritten: boolean): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'larder-catalog-'))
  try {
    const path = join(folder, 'catalog.db')
    await (await SqliteCatalog.open(path))[Symbol.asyncDispose]()
    fillCatalog(path, filling, tell)
    const { size } = await stat(path)
    const opening = performance.now()
    await using catalog = await SqliteCatalog.open(path)
    const openedMs = performance.now() - opening
    const rows = [...(await questionRows(catalog, filling)), ...(await changeRows(catalog, filling))]
    rows.push(['opening the file', 'once', showMilliseconds(openedMs), ''])
    const text = `${describeMachine()}\n\n${markdown(tableOf(rows, filling, size), 2)}`
    process.stdout.write(`${text}\n`)
    if (isWritten) await writeResults(text, 'npm run bench:catalog')
  } finally {
    await rm(folder, { recursive: true })
  }
}

function tableOf(rows: string[][], filling: Filling, size: number): Table {
  const blobs = filling.repositories * filling.blobs + 1
  const holdings = blobs + 2 * filling.repositories - 1
  const references = blobs + filling.repositories - 1 - filling.idle + filling.subjects * filling.referrers
  return {
    head: ['question', 'how', 'median', 'p99'],
    rows,
    notes: [
      `${showCount(blobs)} blobs, ${showCount(holdings)} holdings, ${showCount(references)} references, ${showCount(filling.repositories)} repositories, half of them pushed here, one layer in all of them; manifests of ${filling.manifestBytes} bytes.`,
      `The file has ${showSize(size)}.`,
      'Questions one by one, of random things, on the main thread, as the server asks them; changes until they are synced.',
    ],
  }
}

async function questionRows(catalog: SqliteCatalog, filling: Filling): Promise<string[][]> {
  const { repositories, blobs, subjects, idle } = filling
  const any = (count: number) => Math.floor(Math.random() * count)
  const mirrored = 2 * any(repositories / 2)
  /** A question about a blob of a repository. */
  const about = (
    repository: () => number,
    blob: () => number,
    ask: (key: RepositoryKey, digest: Digest) => Promise<unknown>,
  ) => {
    return () => {
      const n = repository()
      const [key, digest] = [repositoryAt(n), blobAt(n, blob())]
      return () => ask(key, digest)
    }
  }
  const anyRepository = () => any(repositories)
  const ofHub = () => 2 * any(repositories / 2)
  const pushed = () => 1 + ofHub()
  const anyBlob = () => any(blobs)
  const rows: [string, string, number, () => () => Promise<unknown>][] = [
    ['pull by tag', '3 keys', 20_000, about(anyRepository, anyBlob, (key) => pullByTag(catalog, key))],
    ['right: held', 'a key', 20_000, about(anyRepository, anyBlob, (...of) => catalog.held(...of))],
    ['right: named', 'a key', 20_000, about(anyRepository, anyBlob, (...of) => catalog.named(...of))],
    [
      'right: not named',
      'a key',
      20_000,
      about(
        anyRepository,
        () => -1,
        (...of) => catalog.named(...of),
      ),
    ],
    ['right: free, the layer of all', 'an index', 20_000, () => () => catalog.isFree(baseLayer, everRefused)],
    [
      'right: free, some blob',
      'an index',
      20_000,
      about(ofHub, anyBlob, (_, one) => catalog.isFree(one, everRefused)),
    ],
    [
      'right: free, unknown',
      'an index',
      20_000,
      about(
        () => -1,
        () => any(1e9),
        (_, one) => catalog.isFree(one, everRefused),
      ),
    ],
    ['bytes: are they here?', 'a key', 20_000, about(anyRepository, anyBlob, (_, one) => catalog.blob(one))],
    [
      '"already here", told again',
      'a key',
      20_000,
      about(pushed, anyBlob, (...of) => catalog.lease(...of, 1000, 1_000_000)),
    ],
    [
      'referrers: a page of 100',
      'a key',
      5000,
      () => {
        const n = any(subjects)
        const [key, subject] = [repositoryAt(n), manifestAt(n)]
        return () => catalog.naming(key, subject, 'subject', { limit: page })
      },
    ],
    [
      'tags: a page of 100',
      'a key',
      5000,
      () => () => catalog.tags(repositoryAt(0), { after: tagAt(any(900)), limit: page }),
    ],
    [
      'repositories: a page of 100',
      'an index',
      5000,
      () => () => catalog.repositories({ after: repositoryAt(anyRepository()), limit: page }),
    ],
    [
      'the next 100 to evict',
      'an index',
      2000,
      () => () => catalog.leastRecent({ before: any(1_000_000) + 3000, limit: 100 }),
    ],
    [
      'the next 100 behind those',
      'an index',
      2000,
      () => {
        const after = { usedAt: any(1_000_000) + 3000, digest: blobAt(anyRepository(), 0) }
        return () => catalog.leastRecent({ after, limit: 100 })
      },
    ],
    ['the next 100 to verify', 'an index', 2000, () => () => catalog.unverified(any(1_000_000) + 3000, 100)],
    [
      'the next 256 to collect',
      'an index',
      2000,
      () => () => catalog.idle(any(2 * idle) + 600, { limit: 256 }),
    ],
    [
      'who has a blob: 10 upstreams',
      'an index',
      5000,
      about(ofHub, anyBlob, (_, one) => catalog.holders(one, 10)),
    ],
    ['of the layer of all', 'an index', 5000, () => () => catalog.holders(baseLayer, 10)],
    [
      'who names a blob, of 1,000 repositories',
      '1,000 keys',
      100,
      about(anyRepository, anyBlob, (after, digest) => catalog.namers(digest, { after, limit: 1000 })),
    ],
    [
      'all files: a page of 1,000',
      'a key',
      500,
      () => () => catalog.blobs({ after: blobAt(any(1e6), 0), limit: 1000 }),
    ],
    ['all bytes in use', 'counted', 20_000, () => () => catalog.usage()],
  ]
  const measured: string[][] = []
  for (const [what, how, count, question] of rows) {
    tell(what)
    measured.push([what, how, ...shown(await timesOf(count, question))])
  }
  if ((await catalog.held(repositoryAt(mirrored), blobAt(mirrored, 0)))?.publicAt === undefined) {
    throw new Error('the catalog is not filled as it should be')
  }
  return measured
}

/** As a client's pull asks. */
async function pullByTag(catalog: SqliteCatalog, repository: RepositoryKey): Promise<void> {
  const tag = await catalog.tag(repository, tagAt(1))
  const held = tag && (await catalog.held(repository, tag.digest))
  if (!held || !(await catalog.manifest(repository, tag.digest))) throw new Error('a tag is missing')
}

async function changeRows(catalog: SqliteCatalog, { blobs, repositories }: Filling): Promise<string[][]> {
  const at = 5_000_000
  const file = { size: 1, mtime: 1, inode: 1 }
  const digestsOf = (n: number): Digest[] => Array.from({ length: blobs }, (_, one) => blobAt(-2 - n, one))
  const pull = (n: number) => {
    const references = digestsOf(n).map((target) => ({ target, kind: 'layer', size: 1 }) as const)
    const manifest = { digest: manifestAt(-2 - n), mediaType: 'a/b', bytes: Buffer.alloc(1000) }
    return catalog.pulled(repositoryAt(n), manifest, { as: 'anyone', at, tag: tagAt(2), references })
  }
  const pushed = repositoryKey(localOrigin, 'new/app' as RepositoryName)
  let n = 0
  tell('a manifest, recorded')
  const alone = await timesOf(200, () => () => pull(n++))
  tell('a thousand manifests at once')
  const startedAt = performance.now()
  await Promise.all(Array.from({ length: 1000 }, () => pull(n++)))
  const together = performance.now() - startedAt
  tell('a blob, pushed')
  const push = await timesOf(200, () => () => catalog.pushed(pushed, blobAt(-1, n++), file, at))
  tell('what nine teams of a thousand have, pinned')
  const teams = { origin: 'docker.io', repository: 'team-*00/**', tag: '*' }
  const pinnedCount = (repositories * 9) / 1000
  const pin = await timesOf(1, () => () => catalog.pin(teams, at))
  tell('a manifest, recorded where it is pinned')
  let next = 0
  const ofTeams = () => 100 * (1 + (next % 9)) + 1000 * Math.floor(next++ / 9)
  const pinned = await timesOf(Math.min(200, pinnedCount), () => () => pull(ofTeams()))
  tell('the same, pinned no more')
  const unpin = await timesOf(1, () => () => catalog.unpin(teams))
  return [
    ['a manifest with a tag, recorded', 'a commit', ...shown(alone)],
    ['1,000 of them at once', 'few commits', showMilliseconds(together), ''],
    ['a blob, pushed', 'a commit', ...shown(push)],
    [`${showCount(pinnedCount)} repositories, pinned`, 'a commit', showMilliseconds(pin.median / 1000), ''],
    ['a manifest with a tag, where it is pinned', 'a commit', ...shown(pinned)],
    ['the same, pinned no more', 'a commit', showMilliseconds(unpin.median / 1000), ''],
  ]
}

/** `prepare` makes the question, which is not counted, and returns what asks it. */
async function timesOf(count: number, prepare: () => () => Promise<unknown>): Promise<Times> {
  const times: number[] = []
  for (let run = 0; run < count; run += 1) {
    const question = prepare()
    const startedAt = performance.now()
    await question()
    times.push((performance.now() - startedAt) * 1000)
  }
  times.sort((one, other) => one - other)
  return { median: times[Math.floor(count / 2)] ?? 0, slow: times[Math.floor(count * 0.99)] ?? 0 }
}

function shown({ median, slow }: Times): [string, string] {
  return [showMicroseconds(median), showMicroseconds(slow)]
}

function showMicroseconds(value: number): string {
  return value < 10_000 ? `${showCount(value)} µs` : showMilliseconds(value / 1000)
}

function tell(text: string): void {
  process.stderr.write(`  ${text}\n`)
}
