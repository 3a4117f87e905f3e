import { parseArgs } from 'node:util'
import { measureDead } from './line/dead-row.ts'
import { type Cells, cellsOf, headOf } from './line/line-table.ts'
import { measurePulls, tracePull } from './line/pull-row.ts'
import { measureRate } from './line/rate-row.ts'
import { pullRows } from './line/rows.ts'
import type { LineSetting } from './line/setting.ts'
import {
  buildLarder,
  dockerRegistry,
  dockerRegistryVersion,
  larder,
  otherBuild,
} from './support/contenders.ts'
import { describeMachine, writeResults } from './support/report.ts'
import { markdown } from './support/table.ts'

const usage =
  'npm run bench:line -- [--rows 3,4] [--quick] [--alone] [--write] [--against PATH/dist/main.js] [--runs N] [--trace]'

const { values } = parseArgs({
  options: {
    rows: { type: 'string' },
    quick: { type: 'boolean' },
    alone: { type: 'boolean' },
    write: { type: 'boolean' },
    help: { type: 'boolean' },
    against: { type: 'string' },
    runs: { type: 'string' },
    trace: { type: 'boolean' },
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

type Measure = (setting: LineSetting) => Promise<Cells[]>

/** The rows of the table that were asked for, by their numbers. */
function wanted(): [number, Measure][] {
  const all: [number, Measure][] = [
    ...pullRows.map((row): [number, Measure] => [
      row.number,
      async (setting) => [cellsOf(await measurePulls(row, setting))],
    ]),
    [8, measureDead],
    [9, measureRate],
  ]
  return all.filter(([number]) => isWanted(number))
}

function isWanted(row: number): boolean {
  return values.rows?.split(',').includes(String(row)) ?? true
}

/** Instead of figures, what happened in one pull of each row. */
async function trace(setting: LineSetting): Promise<void> {
  for (const row of pullRows.filter(({ number }) => isWanted(number))) {
    process.stdout.write(`## ${row.number}. ${row.label.join('; ')}\n\n${await tracePull(row, setting)}\n\n`)
  }
}

async function main(): Promise<void> {
  await buildLarder()
  const isAlone = values.alone || values.quick
  const version = isAlone ? undefined : await dockerRegistryVersion()
  const contenders = [
    larder,
    ...(values.against === undefined ? [] : [otherBuild(values.against)]),
    ...(version === undefined ? [] : [dockerRegistry]),
  ]
  const setting: LineSetting = {
    contenders,
    runs: values.quick ? 1 : values.runs === undefined ? undefined : Number(values.runs),
    tell: (text) => void process.stderr.write(`  ${text}\n`),
    signal: stop.signal,
  }
  if (values.trace) return trace(setting)
  const head = headOf(contenders.map(({ name }) => name))
  const rows: string[][] = []
  for (const [, measure] of wanted()) {
    for (const cells of await measure(setting)) rows.push(head.map((column) => cells[column] ?? ''))
  }
  const compared = isAlone ? undefined : { dockerRegistryVersion: version }
  const text = `${describeMachine(compared)}\n\n${markdown({ head, rows, notes: [] }, 3)}`
  process.stdout.write(`${text}\n`)
  if (values.write) await writeResults(text, 'npm run bench:line')
}
