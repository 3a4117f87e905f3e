import { parseArgs } from 'node:util'
import { cached } from './cached.ts'
import { cold, coldRows } from './cold.ts'
import { fanIn } from './fan-in.ts'
import { lineDrops } from './line-drops.ts'
import { memory } from './memory.ts'
import { midway } from './midway.ts'
import type { Benchmark, Setting } from './support/benchmark.ts'
import {
  buildLarder,
  dockerRegistry,
  dockerRegistryVersion,
  larder,
  otherBuild,
} from './support/contenders.ts'
import { describeMachine, withoutMeaning, writeSections } from './support/report.ts'
import { markdown } from './support/table.ts'

const benchmarks: readonly Benchmark[] = [fanIn, midway, lineDrops, cached, memory, cold]
const usage = `npm run bench -- [--quick] [--write] [--alone] [--against PATH/dist/main.js] [--row ROW]... [${benchmarks.map(({ name }) => name).join('] [')}]
  --alone    without docker-registry
  --against  another build, measured in turn with this one
  --row      of cold: ${coldRows.join(', ')}`

const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => stop.abort())
// Whoever read this has gone, as `head` does.
for (const output of [process.stdout, process.stderr]) output.on('error', () => stop.abort())
try {
  await main()
} catch (error) {
  const message = error instanceof Error ? error.message : String(error)
  process.stderr.write(`${stop.signal.aborted ? 'stopped; nothing is left running' : message}\n`)
  process.exitCode = stop.signal.aborted ? 130 : 1
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      quick: { type: 'boolean' },
      write: { type: 'boolean' },
      help: { type: 'boolean' },
      alone: { type: 'boolean' },
      against: { type: 'string' },
      row: { type: 'string', multiple: true },
    },
  })
  const unknown = positionals.filter((name) => !benchmarks.some((one) => one.name === name))
  if (values.help || unknown.length > 0) {
    if (unknown.length > 0) throw new Error(`there is no benchmark ${unknown.join(', ')}\nusage: ${usage}`)
    process.stdout.write(`usage: ${usage}\n`)
    return
  }
  const { quick: isQuick = false, row: rows = [], against } = values
  const unknownRow = rows.find((row) => !coldRows.includes(row))
  if (unknownRow !== undefined) throw new Error(`there is no row ${unknownRow}\nusage: ${usage}`)
  if (values.write && (values.alone || rows.length > 0)) {
    throw new Error('what is written is whole: neither --alone nor --row go with --write')
  }
  await buildLarder()
  const version = values.alone ? undefined : await dockerRegistryVersion()
  const setting: Setting = {
    contenders: [
      larder,
      ...(version === undefined ? [] : [dockerRegistry]),
      ...(against === undefined ? [] : [otherBuild(against)]),
    ],
    isQuick,
    rows,
    tell: (text) => process.stderr.write(`  ${text}\n`),
    signal: stop.signal,
  }
  const chosen = benchmarks.filter(({ name }) => positionals.length === 0 || positionals.includes(name))
  const measuredOn = describeMachine(values.alone ? undefined : { dockerRegistryVersion: version })
  const machine = isQuick ? `${measuredOn} ${withoutMeaning}` : measuredOn
  process.stdout.write(`${machine}\n\n`)
  const sections: string[] = []
  for (const benchmark of chosen) {
    const table = await benchmark.run(setting)
    const [heading, text] = [`### ${benchmark.title} (\`${benchmark.name}\`)`, markdown(table)]
    process.stdout.write(`${heading}\n\n${text}\n\n`)
    // Each with its machine: they need not have been measured together.
    sections.push(`${heading}\n\n${machine}\n\n${text}`)
  }
  if (values.write) await writeSections(sections)
}
