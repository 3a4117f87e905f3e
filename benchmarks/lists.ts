import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { buildLarder, type Contender, dockerRegistryVersion } from './support/contenders.ts'
import { fillDockerRegistry, fillLarder, type ListFilling, namesOf, tagged } from './support/list-filling.ts'
import { describeMachine, writeResults } from './support/report.ts'
import { ServerProcess } from './support/server-process.ts'
import { type ComparedRow, compare, markdown, median } from './support/table.ts'
import { showCount, showMilliseconds } from './support/units.ts'

const usage = 'npm run bench:lists -- [--quick] [--write]'
const full: ListFilling = { repositories: 100_000, tags: 100_000 }
const quick: ListFilling = { repositories: 2000, tags: 2000 }
const pageSize = 100
/** Pages of docker-registry's catalog that are asked for, of all. */
const sampledPages = 4
const runs = 3

const { values } = parseArgs({
  options: { quick: { type: 'boolean' }, write: { type: 'boolean' }, help: { type: 'boolean' } },
})
if (values.help) process.stdout.write(`usage: ${usage}\n`)
else await main(values.quick ? quick : full, values.write ?? false)

interface Listing extends Pick<Contender, 'name'> {
  readonly server: ServerProcess
  /** All pages of the catalog, in milliseconds. */
  readonly catalog: () => Promise<number>
}

async function main(filling: ListFilling, isWritten: boolean): Promise<void> {
  await buildLarder()
  await using parts = new AsyncDisposableStack()
  const version = await dockerRegistryVersion()
  tell('filling')
  const listings = [await startLarder(filling, parts)]
  if (version !== undefined) listings.push(await startDockerRegistry(filling, parts))
  const table = compare(['list', 'measured'], listings.map(contenderOf), await rowsOf(listings, filling), [
    `${showCount(filling.repositories)} repositories that were pushed, one with ${showCount(filling.tags)} tags; pages of ${pageSize}. Medians of ${runs} runs in turn, of 30 answers each for what takes milliseconds.`,
    `All pages: docker-registry was asked for ${sampledPages} of ${showCount(filling.repositories / pageSize)}, evenly spread, and the mean of these taken for each. It knows no pages of tags.`,
  ])
  const text = `${describeMachine({ dockerRegistryVersion: version })}\n\n${markdown(table, 2)}`
  process.stdout.write(`${text}\n`)
  if (isWritten) await writeResults(text, 'npm run bench:lists')
}

async function rowsOf(listings: readonly Listing[], filling: ListFilling): Promise<ComparedRow[]> {
  const tags = `/v2/${tagged}/tags/list`
  const questions: [string, string, (listing: Listing) => Promise<number>][] = [
    ['/v2/_catalog', 'all pages', ({ catalog }) => catalog()],
    ['', 'first page', ({ server }) => answers(server, `/v2/_catalog?n=${pageSize}`, pageSize)],
    ['tags/list', 'all tags at once', ({ server }) => answers(server, tags, filling.tags)],
    ['', 'first page', ({ server }) => answers(server, `${tags}?n=${pageSize}`)],
  ]
  const rows: ComparedRow[] = []
  for (const [list, measured, measure] of questions) {
    const found = new Map<string, number[]>(listings.map(({ name }) => [name, []]))
    for (let run = 0; run < runs; run += 1) {
      for (const listing of listings) {
        tell(`${list} ${measured}: ${listing.name}, run ${run + 1} of ${runs}`)
        found.get(listing.name)?.push(await measure(listing))
      }
    }
    rows.push({ label: [list, measured], values: found, show: showMilliseconds, better: 'less' })
  }
  return rows
}

async function startLarder(filling: ListFilling, parts: AsyncDisposableStack): Promise<Listing> {
  const server = parts.use(
    await ServerProcess.start(async ({ port, directory }) => {
      await writeFile(join(directory, 'mirror.yml'), '')
      const data = join(directory, 'data')
      await fillLarder(data, filling)
      const main = join(import.meta.dirname, '../dist/main.js')
      const serve = ['serve', '--listen', `127.0.0.1:${port}`, '--data', data]
      return { program: 'node', arguments: [main, ...serve] }
    }),
  )
  const catalog = async () => {
    const startedAt = performance.now()
    const names: string[] = []
    for (let next: string | undefined = `/v2/_catalog?n=${pageSize}`; next !== undefined; ) {
      const { list, link } = await ask(server, next)
      names.push(...list)
      next = link
    }
    assertSame(names.length, filling.repositories)
    return performance.now() - startedAt
  }
  return { name: 'Larder', server, catalog }
}

async function startDockerRegistry(filling: ListFilling, parts: AsyncDisposableStack): Promise<Listing> {
  const server = parts.use(
    await ServerProcess.start(async ({ port, directory }) => {
      const [file, data] = [join(directory, 'config.yml'), join(directory, 'data')]
      fillDockerRegistry(data, filling)
      const storage = { filesystem: { rootdirectory: data } }
      const log = { level: 'error', accesslog: { disabled: true } }
      const config = { version: '0.1', log, storage, http: { addr: `127.0.0.1:${port}` } }
      await writeFile(file, JSON.stringify(config))
      return { program: 'docker-registry', arguments: ['serve', file] }
    }),
  )
  const names = namesOf(filling)
  const pages = filling.repositories / pageSize
  const catalog = async () => {
    let ms = 0
    for (let page = 0; page < sampledPages; page += 1) {
      const first = Math.floor(((page + 0.5) / sampledPages) * pages) * pageSize
      const startedAt = performance.now()
      const { list } = await ask(server, `/v2/_catalog?n=${pageSize}&last=${names[first - 1] ?? ''}`)
      ms += performance.now() - startedAt
      assertSame(list.length, pageSize)
    }
    return (ms / sampledPages) * pages
  }
  return { name: 'docker-registry', server, catalog }
}

/** The median of thirty, or of three where each takes long; in milliseconds. `count`: of what is in the list. */
async function answers(server: ServerProcess, path: string, count?: number): Promise<number> {
  const times: number[] = []
  for (let n = 0; n < (times[0] !== undefined && times[0] > 500 ? 3 : 30); n += 1) {
    const startedAt = performance.now()
    const { list } = await ask(server, path)
    times.push(performance.now() - startedAt)
    if (count !== undefined) assertSame(list.length, count)
  }
  return median(times)
}

async function ask(
  server: ServerProcess,
  path: string,
): Promise<{ list: string[]; link: string | undefined }> {
  const response = await fetch(server.url + path)
  const { repositories, tags, errors } = (await response.json()) as Record<string, string[] | undefined>
  const list = repositories ?? tags
  if (!list) throw new Error(`${path} was answered ${response.status} ${JSON.stringify(errors)}`)
  return { list, link: /<([^>]+)>/.exec(response.headers.get('link') ?? '')?.[1] }
}

function contenderOf({ name, server }: Listing): Contender {
  return { name, start: async () => server }
}

function assertSame(found: number, expected: number): void {
  if (found !== expected) throw new Error(`${found} are listed, and there are ${expected}`)
}

function tell(text: string): void {
  process.stderr.write(`${text}\n`)
}
