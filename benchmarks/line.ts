import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { buildLarder, type Contender, larder, otherBuild } from './support/contenders.ts'
import type { ImageSummary } from './support/hub-control.ts'
import { HubProcess } from './support/hub-process.ts'
import { ImageClient } from './support/image-client.ts'
import { describeMachine, writeResults } from './support/report.ts'
import { markdown, median, showRange, type Table } from './support/table.ts'
import { megabits, megabyte } from './support/units.ts'

const usage = 'npm run bench:line -- [--quick] [--write] [--against PATH/dist/main.js] [--runs N]'

const megabitsPerSecond = 20
const roundTripMs = 200
const windowBytes = 128 * 1024
/** What a client gets that has no mirror. */
const direct = 'direct'

interface Case {
  readonly title: string
  readonly layerSizes: readonly number[]
  readonly runs: number
}

interface Outcome {
  readonly seconds: number
  /** That were opened over the line. */
  readonly connections: number
}

/** A line with a registry behind it that speaks TLS. */
interface Scene {
  readonly hub: HubProcess
  /** The file with its authority. */
  readonly ca: string
  readonly signal: AbortSignal
}

type Results = ReadonlyMap<string, readonly Outcome[]>

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean' },
    write: { type: 'boolean' },
    help: { type: 'boolean' },
    against: { type: 'string' },
    runs: { type: 'string' },
  },
})
const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => stop.abort())
try {
  if (values.help) process.stdout.write(`usage: ${usage}\n`)
  else await main()
} catch (error) {
  if (!stop.signal.aborted) throw error
  process.stderr.write('stopped; nothing is left running\n')
  process.exitCode = 130
}

async function main(): Promise<void> {
  await buildLarder()
  const contenders = [larder, ...(values.against === undefined ? [] : [otherBuild(values.against)])]
  await using parts = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'larder-line-'))
  parts.defer(() => rm(folder, { recursive: true }))
  const bytesPerSecond = megabits(megabitsPerSecond)
  const hub = parts.use(await HubProcess.start({ bytesPerSecond, roundTripMs, windowBytes, isTls: true }))
  const ca = join(folder, 'ca.pem')
  await writeFile(ca, hub.ca ?? '')
  const scene: Scene = { hub, ca, signal: stop.signal }
  const rows: string[][] = []
  for (const one of casesFor(values.quick ?? false)) {
    rows.push(...rowsOf(one, contenders, await measure(one, contenders, scene)))
  }
  const names = [direct, ...contenders.map(({ name }) => name)]
  const ratios = [direct, ...contenders.slice(1).map(({ name }) => name)]
  const table: Table = {
    head: ['image', 'measured', ...names, ...ratios.map((name) => `${larder.name} / ${name}`)],
    rows,
    notes: [
      `Over ${megabitsPerSecond} Mbit/s that all connections share, round trip ${roundTripMs} ms, at most ${windowBytes / 1024} KiB of a connection on their way at a time; registry, token service and CDN behind TLS.`,
      'In turn, each with a new server, a new client and no connection: median, and lowest to highest. The client asks for the manifest, the config, and the layers, three at a time.',
    ],
  }
  const text = `${describeMachine()}\n\n${markdown(table, 2)}`
  process.stdout.write(`${text}\n`)
  if (values.write) await writeResults(text, 'npm run bench:line')
}

function casesFor(isQuick: boolean): readonly Case[] {
  const layered = (size: number, shares: readonly number[]): number[] =>
    shares.map((share) => Math.round(size * share * megabyte))
  const cases = [
    { title: '3 MB in 4 layers', layerSizes: layered(3, [0.5, 0.3, 0.15, 0.05]), runs: 5 },
    { title: '60 MB in 5 layers', layerSizes: layered(60, [0.28, 0.22, 0.2, 0.16, 0.14]), runs: 3 },
  ]
  const runs = isQuick ? 1 : values.runs === undefined ? undefined : Number(values.runs)
  return cases.slice(0, isQuick ? 1 : cases.length).map((one) => ({ ...one, runs: runs ?? one.runs }))
}

async function measure(
  { title, layerSizes, runs }: Case,
  contenders: readonly Contender[],
  scene: Scene,
): Promise<Results> {
  const image = await scene.hub.addImage({
    repository: 'library/bench',
    tag: title.replaceAll(' ', '-'),
    layerSizes,
    seed: title,
  })
  const results = new Map<string, Outcome[]>()
  for (let run = 0; run < runs; run += 1) {
    for (const contender of [undefined, ...contenders]) {
      const name = contender?.name ?? direct
      scene.signal.throwIfAborted()
      process.stderr.write(`  ${title}: ${name}, run ${run + 1} of ${runs}\n`)
      const outcome = await pull(contender, image, scene)
      results.set(name, [...(results.get(name) ?? []), outcome])
    }
  }
  return results
}

async function pull(
  contender: Contender | undefined,
  image: ImageSummary,
  { hub, ca, signal }: Scene,
): Promise<Outcome> {
  await using server = await contender?.start(hub.url, { ca })
  const before = (await hub.traffic()).connections
  using client = new ImageClient(server ? { url: server.url, signal } : { url: hub.url, ca: hub.ca, signal })
  const startedAt = performance.now()
  await client.pull(image)
  const seconds = (performance.now() - startedAt) / 1000
  return { seconds, connections: (await hub.traffic()).connections - before }
}

function rowsOf({ title }: Case, contenders: readonly Contender[], results: Results): string[][] {
  const names = contenders.map(({ name }) => name)
  const all = (name: string, read: (outcome: Outcome) => number): number[] =>
    (results.get(name) ?? []).map(read)
  const row = (
    label: string[],
    read: (outcome: Outcome) => number,
    show: (value: number) => string,
  ): string[] => {
    const own = median(all(larder.name, read))
    const others = [direct, ...names.slice(1)].map((name) => (own / median(all(name, read))).toFixed(2))
    return [...label, ...[direct, ...names].map((name) => showRange(all(name, read), show)), ...others]
  }
  return [
    row(
      [title, 'seconds'],
      ({ seconds }) => seconds,
      (value) => value.toFixed(2),
    ),
    row(['', 'connections'], ({ connections }) => connections, String),
  ]
}
