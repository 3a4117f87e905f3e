import { once } from 'node:events'
import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { type Digest, digestHex, digestOf } from '../src/oci/digest.ts'
import { sealedFile } from '../src/storage/files/sealed-file.ts'
import { SqliteCatalog } from '../src/storage/sqlite/sqlite-catalog.ts'
import { forkNode } from '../test/support/child-process.ts'
import { pseudoRandomBytes } from '../test/support/images.ts'
import { readMetric } from '../test/support/mirror.ts'
import { describeMachine, writeResults } from './support/report.ts'
import { clients, pullUntil, pushAll, ratios, shownLatencies } from './support/small-pulls.ts'
import { markdown } from './support/table.ts'
import { megabyte, showCount, showMilliseconds } from './support/units.ts'

const usage = 'npm run bench:disk -- [--quick] [--write]'
const { values } = parseArgs({
  options: { quick: { type: 'boolean' }, write: { type: 'boolean' }, help: { type: 'boolean' } },
})
/** What is evicted, in so many rounds; between two of them nothing is. */
const evicted = {
  blobs: values.quick ? 1000 : 100_000,
  bytes: 100_000,
  rounds: values.quick ? 2 : 3,
  /** Of all of them, in one round. */
  share: 0.05,
} as const
/** What is read through again and again. */
const scrubbed = {
  blobs: values.quick ? 10 : 40,
  bytes: 50 * megabyte,
  rounds: values.quick ? 2 : 3,
} as const
/** Milliseconds of a round in which nothing else goes on, and of one of the scrub. */
const roundMs = values.quick ? 2000 : 8000
const warmUpMs = values.quick ? 500 : 2000
const quiet = { 'cache.maxSize': 1e15, 'cache.minFree': 0, 'cache.scrub': 'never' }

type Config = Readonly<Record<string, unknown>>

if (values.help) process.stdout.write(`usage: ${usage}\n`)
else await main()

async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'larder-disk-'))
  try {
    const eviction = await measureEviction(join(folder, 'evicted'))
    const scrub = await measureScrub(join(folder, 'scrubbed'))
    const speed = `${showCount(scrub.bytesPerSecond / megabyte)} MB/s`
    const table = {
      head: ['pulls', 'requests', 'median', 'p99', 'p99.9', 'longest'],
      rows: [
        ['nothing is evicted', ...shown(eviction.without)],
        ['blobs are evicted', ...shown(eviction.meanwhile)],
        ['ratio', '', ...ratios(eviction.meanwhile, eviction.without), ''],
        ['nothing is scrubbed', ...shown(scrub.without)],
        [`scrub at ${speed}`, ...shown(scrub.meanwhile)],
        ['ratio', '', ...ratios(scrub.meanwhile, scrub.without), ''],
      ],
      notes: [
        `${showCount(evicted.blobs)} blobs of ${showCount(evicted.bytes / 1000)} KB, of which a twentieth was evicted in each of ${evicted.rounds} rounds, ${showCount(eviction.perSecond)} a second.`,
        `${scrubbed.blobs} blobs of ${showCount(scrubbed.bytes / megabyte)} MB were scrubbed, again and again.`,
        `${clients} clients pull manifests, configs and layers of 100 KB one after the other.`,
      ],
    }
    const text = `${describeMachine()}\n\n${markdown(table, 1)}`
    process.stdout.write(`${text}\n`)
    if (values.write) await writeResults(text, 'npm run bench:disk')
  } finally {
    await rm(folder, { recursive: true })
  }
}

async function measureEviction(folder: string) {
  const bytes = Buffer.alloc(evicted.bytes, 'x')
  // What is evicted is not read: the bytes are those of no digest.
  await fill(folder, evicted.blobs, (n) => ({ digest: digestOf(Buffer.from(`evicted ${n}`)), bytes }))
  const all = evicted.blobs * evicted.bytes
  const [without, meanwhile]: [number[], number[]] = [[], []]
  let [evictedBlobs, evictingMs] = [0, 0]
  for (let round = 1; round <= evicted.rounds; round += 1) {
    without.push(...(await pulls(folder, quiet, () => sleep(roundMs))))
    const maxSize = Math.round(all * (1 - evicted.share * round))
    const least = Math.floor(0.9 * evicted.share * evicted.blobs)
    tell(`evicting down to ${showCount(maxSize / megabyte)} MB`)
    const startedAt = performance.now()
    const samples = await pulls(folder, { ...quiet, 'cache.maxSize': maxSize }, async (url) => {
      for (let gone = 0; gone < least; await sleep(250)) {
        gone = await readMetric(`${url}/metrics`, 'larder_evicted_blobs_total')
        if (gone >= least) evictedBlobs += gone
      }
    })
    evictingMs += performance.now() - startedAt
    meanwhile.push(...samples)
  }
  return { without, meanwhile, perSecond: evictedBlobs / (evictingMs / 1000) }
}

async function measureScrub(folder: string) {
  await fill(folder, scrubbed.blobs, (n) => {
    const bytes = pseudoRandomBytes(scrubbed.bytes, `scrubbed ${n}`)
    return { digest: digestOf(bytes), bytes }
  })
  const [without, meanwhile]: [number[], number[]] = [[], []]
  let [bytes, ms] = [0, 0]
  for (let round = 1; round <= scrubbed.rounds; round += 1) {
    tell(`scrubbing, round ${round} of ${scrubbed.rounds}`)
    without.push(...(await pulls(folder, quiet, () => sleep(roundMs))))
    const samples = await pulls(folder, { ...quiet, 'cache.scrub': '1s' }, async (url) => {
      while ((await scrubbedBytes(url)) === 0) await sleep(50)
      const [before, at] = [await scrubbedBytes(url), performance.now()]
      await sleep(roundMs)
      bytes += (await scrubbedBytes(url)) - before
      ms += performance.now() - at
    })
    meanwhile.push(...samples)
  }
  return { without, meanwhile, bytesPerSecond: bytes / (ms / 1000) }
}

/** Bytes that were read: all blobs are, in turn. */
async function scrubbedBytes(url: string): Promise<number> {
  const figure = (name: string) => readMetric(`${url}/metrics`, `larder_${name}`)
  const size = (await figure('cache_bytes')) / (await figure('cache_blobs'))
  return (await figure('scrubbed_blobs_total')) * size
}

/** Blobs that were fetched long ago, in a folder of their own. */
async function fill(
  folder: string,
  count: number,
  blobAt: (n: number) => { digest: Digest; bytes: Uint8Array },
): Promise<void> {
  tell(`writing ${showCount(count)} files`)
  await mkdir(folder)
  const path = join(folder, 'catalog.db')
  await (await SqliteCatalog.open(path))[Symbol.asyncDispose]()
  using database = new DatabaseSync(path)
  database.exec('BEGIN')
  const insert = database.prepare('INSERT INTO blob VALUES (?, ?, ?, ?, ?, ?, 0)')
  for (let n = 0; n < count; n += 1) {
    const { digest, bytes } = blobAt(n)
    const hex = digestHex(digest)
    const file = join(folder, 'blobs/sha256', hex.slice(0, 2), hex)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, bytes)
    const { size, mtime, inode } = sealedFile(await stat(file, { bigint: true }))
    // As the catalog writes them: 01 is sha256.
    insert.run(Buffer.from(`01${hex}`, 'hex'), size, mtime, inode, n, 1)
  }
  database.exec('COMMIT')
}

/** Milliseconds of the pulls from a Larder of its own until `work` has ended. */
async function pulls(
  folder: string,
  config: Config,
  work: (url: string) => Promise<unknown>,
): Promise<number[]> {
  const larder = new URL('./support/larder-child.ts', import.meta.url)
  const child = forkNode(larder, [folder, JSON.stringify({ 'cache.keepAtLeast': '0s', ...config })])
  try {
    const port = await portOf(child)
    const url = `http://127.0.0.1:${port}`
    const paths = await pushAll(url)
    await pullUntil(port, paths, sleep(warmUpMs))
    return await pullUntil(port, paths, work(url))
  } finally {
    child.kill()
    await once(child, 'exit')
  }
}

async function portOf(child: ReturnType<typeof forkNode>): Promise<number> {
  const told = Promise.withResolvers<number>()
  child.on('message', ({ port }: { port?: number }) => port !== undefined && told.resolve(port))
  child.once('exit', () => told.reject(new Error('Larder ended at its start')))
  return told.promise
}

function shown(samples: readonly number[]): string[] {
  const longest = samples.reduce((most, ms) => Math.max(most, ms), 0)
  return [...shownLatencies(samples), showMilliseconds(longest)]
}

function tell(text: string): void {
  process.stderr.write(`${text}\n`)
}
