import { parseArgs } from 'node:util'
import { inTurn, type Setting } from './support/benchmark.ts'
import {
  buildLarder,
  type Contender,
  dockerRegistryAlone,
  dockerRegistryVersion,
  larder,
} from './support/contenders.ts'
import { push } from './support/push-load.ts'
import { describeMachine, writeResults } from './support/report.ts'
import { type ComparedRow, compare, markdown } from './support/table.ts'
import { megabyte, showCount, showMegabytes } from './support/units.ts'

const usage = 'npm run bench:push -- [--quick] [--write] [--runs N]'
/** Nobody is asked for what is pushed. */
const noUpstream = 'http://127.0.0.1:9'

interface Case {
  readonly title: string
  readonly blobs: number
  readonly bytes: number
  readonly connections: number
  readonly rate: { readonly unit: string; readonly of: (seconds: number) => number }
}

interface Outcome {
  readonly rate: number
  /** Processor seconds of the server for a gigabyte. */
  readonly cpu: number
  /** Bytes, at the most. */
  readonly memory: number
  /** Bytes, before anything was pushed. */
  readonly atRest: number
}

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean' },
    write: { type: 'boolean' },
    help: { type: 'boolean' },
    runs: { type: 'string', default: '5' },
  },
})
if (values.help) process.stdout.write(`usage: ${usage}\n`)
else await main(values.quick ?? false, values.quick ? 1 : Number(values.runs), values.write ?? false)

async function main(isQuick: boolean, runs: number, isWritten: boolean): Promise<void> {
  await buildLarder()
  const version = await dockerRegistryVersion()
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => stop.abort())
  const setting: Setting = {
    contenders: version === undefined ? [larder] : [larder, dockerRegistryAlone],
    isQuick,
    rows: [],
    tell: (text) => process.stderr.write(`  ${text}\n`),
    signal: stop.signal,
  }
  const rows: ComparedRow[] = []
  for (const one of casesFor(isQuick)) rows.push(...(await rowsOf(one, runs, setting)))
  const table = compare(['what', 'measured'], setting.contenders, rows, [
    `Medians of ${runs} runs, each of a server with an empty folder. Every blob as Docker pushes it: POST, PATCH without a length, PUT; client and server share the processors, and both servers sync what they acknowledge to the disk. Processor time of the server alone, user and system.`,
  ])
  const text = `${describeMachine({ dockerRegistryVersion: version })}\n\n${markdown(table, 2)}`
  process.stdout.write(`${text}\n`)
  if (isWritten) await writeResults(text, 'npm run bench:push')
}

function casesFor(isQuick: boolean): readonly Case[] {
  const large = (isQuick ? 50 : 1000) * megabyte
  const count = isQuick ? 20 : 1000
  return [
    {
      title: `a blob of ${large / megabyte} MB`,
      blobs: 1,
      bytes: large,
      connections: 1,
      rate: { unit: 'MB/s', of: (seconds) => large / megabyte / seconds },
    },
    {
      title: `${showCount(count)} blobs of 1 MB, 8 at a time`,
      blobs: count,
      bytes: megabyte,
      connections: 8,
      rate: { unit: 'blobs/s', of: (seconds) => count / seconds },
    },
  ]
}

async function rowsOf(one: Case, runs: number, setting: Setting): Promise<ComparedRow[]> {
  const results = await inTurn(setting, { label: one.title, runs }, (contender) =>
    measure(one, contender, setting.signal),
  )
  const pick = (read: (outcome: Outcome) => number) =>
    new Map([...results].map(([name, outcomes]) => [name, outcomes.map(read)]))
  return [
    {
      label: [one.title, one.rate.unit],
      values: pick(({ rate }) => rate),
      show: showCount,
      better: 'more',
    },
    {
      label: ['', 'CPU s/GB'],
      values: pick(({ cpu }) => cpu),
      show: (value) => value.toFixed(2),
      better: 'less',
    },
    { label: ['', 'memory at rest'], values: pick(({ atRest }) => atRest), show: showMegabytes },
    { label: ['', 'memory at most'], values: pick(({ memory }) => memory), show: showMegabytes },
  ]
}

async function measure(
  { blobs, bytes, connections, rate }: Case,
  contender: Contender,
  signal: AbortSignal,
): Promise<Outcome> {
  await using server = await contender.start(noUpstream)
  const atRest = await server.peakMemory()
  const before = await server.cpuSeconds()
  const { seconds } = await push({ url: `${server.url}/v2/bench`, blobs, bytes, connections }, signal)
  const cpuSeconds = (await server.cpuSeconds()) - before
  return {
    rate: rate.of(seconds),
    cpu: cpuSeconds / ((blobs * bytes) / 1e9),
    memory: await server.peakMemory(),
    atRest,
  }
}
