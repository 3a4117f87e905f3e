import { Writable } from 'node:stream'
import { parseArgs } from 'node:util'
import { pino } from 'pino'
import type { LineFormat } from '../src/logging/formats.ts'
import { createLogger } from '../src/logging/logger.ts'
import { describeMachine, writeResults } from './support/report.ts'
import { markdown, median, type Table } from './support/table.ts'

const usage = 'npm run bench:log -- [--quick] [--write]'
const formats: readonly LineFormat[] = ['text', 'json', 'pretty', 'logstash', 'ecs']
/** The first rounds are those of the compiler, and are not counted. */
const full = { rounds: 30, warmUps: 5, lines: 4000 }
const quick = { rounds: 2, warmUps: 1, lines: 100 }

const digest = `sha256:${'0123456789abcdef'.repeat(4)}`
/** As containerd asks through `registry-mirrors`. */
const request = {
  method: 'GET',
  url: `/v2/library/nginx/blobs/${digest}?ns=docker.io`,
  status: 200,
  kind: 'blob',
  upstream: 'docker.io',
  repository: 'library/nginx',
  reference: digest,
  cache: 'hit',
  bytes: 31_457_280,
  ended: 'complete',
  ms: 12,
  client: '192.168.1.31',
  agent:
    'docker/29.1.3 go/go1.25.4 git-commit/4d75f2a kernel/6.12.48 os/linux arch/amd64 UpstreamClient(Docker-Client/29.1.3)',
}

const { values } = parseArgs({
  options: { quick: { type: 'boolean' }, write: { type: 'boolean' }, help: { type: 'boolean' } },
})
if (values.help) process.stdout.write(`usage: ${usage}\n`)
else await main(values.quick ? quick : full, values.write ?? false)

async function main(size: typeof full, isWritten: boolean): Promise<void> {
  const text = `${describeMachine()}\n\n${markdown(measure(size))}`
  process.stdout.write(`${text}\n`)
  if (isWritten) await writeResults(text, 'npm run bench:log')
}

function measure({ rounds, warmUps, lines }: typeof full): Table {
  const loggers = {
    'pino itself': pino({ base: null }, nowhere()),
    ...Object.fromEntries(formats.map((format) => [format, loggerOf(format)])),
  }
  const times = new Map(Object.keys(loggers).map((name) => [name, [] as number[]]))
  for (let round = 0; round < rounds + warmUps; round += 1) {
    for (const [name, logger] of Object.entries(loggers)) {
      const before = process.cpuUsage()
      for (let line = 0; line < lines; line += 1) logger.info(request, 'request')
      const { user, system } = process.cpuUsage(before)
      if (round >= warmUps) times.get(name)?.push((user + system) / lines)
    }
  }
  const [bare = Number.NaN] = [...times.values()].map(median)
  return {
    head: ['format', 'CPU µs/line', 'times pino itself'],
    rows: [...times].map(([name, each]) => [name, median(each).toFixed(1), (median(each) / bare).toFixed(2)]),
    notes: [
      'The line of a request for a blob, in turn in one process, written to a stream that throws it away; pino itself looks for no secrets and no escape sequences.',
      `Medians of ${rounds} rounds of ${lines} lines.`,
    ],
  }
}

function loggerOf(format: LineFormat) {
  return createLogger({ level: 'info', format, destination: nowhere(), isTerminal: false })
}

function nowhere(): Writable {
  return new Writable({ decodeStrings: false, write: (_chunk, _encoding, done) => done() })
}
