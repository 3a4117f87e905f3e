import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { type Digest, digestHex } from '../src/oci/digest.ts'
import { SqliteCatalog } from '../src/storage/sqlite/sqlite-catalog.ts'
import { forkNode } from '../test/support/child-process.ts'
import { blobAt, type Filling, fillCatalog } from './support/catalog-filling.ts'
import { describeMachine, writeResults } from './support/report.ts'
import { clients, pullUntil, pushAll, ratios, shownLatencies } from './support/small-pulls.ts'
import { markdown } from './support/table.ts'
import { showCount, showMilliseconds } from './support/units.ts'

const usage = 'npm run bench:collect -- [--quick] [--write]'
const { values } = parseArgs({
  options: { quick: { type: 'boolean' }, write: { type: 'boolean' }, help: { type: 'boolean' } },
})
const filling: Filling = {
  repositories: values.quick ? 10_000 : 100_000,
  blobs: 10,
  // 1 % of them, in a tenth of the local repositories or more.
  idle: values.quick ? 1000 : 10_000,
  subjects: 0,
  referrers: 0,
  tags: 3,
  manifestBytes: 1000,
}
/** The idle ones come due in so many portions, with time between them in which nothing is collected. */
const portions = values.quick ? 20 : 50
/** Milliseconds of the first pause; each later one takes as long as the portion before it. */
const firstPauseMs = 2000
const portionSize = filling.idle / portions
/** Milliseconds since the epoch, when they are not due for long: the n-th of the idle ones 2n after that. */
const future = 4_000_000_000_000
const fileBytes = 4096

if (values.help) process.stdout.write(`usage: ${usage}\n`)
else await main()

async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'larder-collect-'))
  try {
    const path = join(folder, 'catalog.db')
    await (await SqliteCatalog.open(path))[Symbol.asyncDispose]()
    fillCatalog(path, filling, tell)
    const idle = Array.from({ length: filling.idle }, (_, n) => blobAt(2 * n + 1, 0))
    await writeFiles(folder, idle)
    postpone(path)
    const { without, meanwhile, collected, collectingMs } = await measure(folder, path)
    const table = {
      head: ['pulls', 'requests', 'median', 'p99', 'p99.9'],
      rows: [
        ['while nothing is collected', ...shownLatencies(without)],
        ['while blobs are collected', ...shownLatencies(meanwhile)],
        ['ratio', '', ...ratios(meanwhile, without)],
      ],
      notes: [
        `${showCount(filling.repositories * filling.blobs)} blobs in the catalog, ${showCount(collected)} of them collected, with a file each, in ${portions} portions in turn with pauses; ${clients} clients pull manifests, configs and layers of 100 KB one after the other.`,
        `A portion took ${showMilliseconds(collectingMs / portions)}.`,
      ],
    }
    const text = `${describeMachine()}\n\n${markdown(table, 1)}`
    process.stdout.write(`${text}\n`)
    if (values.write) await writeResults(text, 'npm run bench:collect')
  } finally {
    await rm(folder, { recursive: true })
  }
}

async function writeFiles(folder: string, digests: readonly Digest[]): Promise<void> {
  tell(`writing ${digests.length} files`)
  const bytes = Buffer.alloc(fileBytes, 'x')
  for (const digest of digests) {
    const hex = digestHex(digest)
    const below = join(folder, 'blobs/sha256', hex.slice(0, 2))
    await mkdir(below, { recursive: true })
    await writeFile(join(below, hex), bytes)
  }
}

function postpone(path: string): void {
  using database = new DatabaseSync(path)
  database.exec(`UPDATE holding SET idle_since = idle_since + ${future} WHERE idle_since IS NOT NULL`)
}

async function measure(folder: string, path: string) {
  const child = forkNode(new URL('./support/larder-child.ts', import.meta.url), [folder])
  let collected = 0
  let isOver = Promise.withResolvers<void>()
  const told = (line: string): void => {
    const { msg, blobs, ms } = JSON.parse(line)
    if (msg !== 'blobs that no manifest names were removed') return
    collected += blobs
    tell(`${collected} collected, in ${ms} ms`)
    isOver.resolve()
  }
  child.on('message', ({ line }: { line?: string }) => line !== undefined && told(line))
  const [without, meanwhile]: [number[], number[]] = [[], []]
  let collectingMs = 0
  let pauseMs = firstPauseMs
  try {
    const [{ port }] = await once(child, 'message')
    const paths = await pushAll(`http://127.0.0.1:${port}`)
    tell('warming up')
    await pullUntil(port, paths, sleep(3000))
    using database = new DatabaseSync(path)
    // Nobody counts the time of the update itself.
    for (let portion = 0; portion < portions; portion += 1) {
      without.push(...(await pullUntil(port, paths, sleep(pauseMs))))
      isOver = Promise.withResolvers()
      database
        .prepare('UPDATE holding SET idle_since = ? WHERE idle_since BETWEEN ? AND ?')
        .run(
          Date.now() - 60_000,
          future + 2 * portion * portionSize,
          future + 2 * (portion + 1) * portionSize - 1,
        )
      const startedAt = performance.now()
      meanwhile.push(...(await pullUntil(port, paths, isOver.promise)))
      pauseMs = performance.now() - startedAt
      collectingMs += pauseMs
    }
    return { without, meanwhile, collected, collectingMs }
  } finally {
    child.kill()
    await once(child, 'exit')
  }
}

function tell(text: string): void {
  process.stderr.write(`${text}\n`)
}
