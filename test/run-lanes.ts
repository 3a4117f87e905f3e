import { globSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { run } from 'node:test'
import { spec, type TestEvent } from 'node:test/reporters'
import { type Lane, lanesOf } from './support/lanes.ts'
import { memoryFolder } from './support/memory-folder.ts'

/** Milliseconds, for one file: several times what the longest one takes on a machine of two cores. */
const timeout = 900_000

const memory = memoryFolder()

/** What happens in one lane after the other, as if it were one run: its figures are told once, at the end. */
async function* events(): AsyncGenerator<TestEvent> {
  const figures = new Map<string, number>()
  for (const lane of lanesOf(globSync('test/**/*.test.ts'))) {
    for await (const event of run({ ...settingsOf(lane), timeout }) as AsyncIterable<TestEvent>) {
      if (event.type === 'test:summary' && !event.data.success) process.exitCode = 1
      const figure = figureOf(event)
      if (figure) figures.set(figure.name, (figures.get(figure.name) ?? 0) + figure.value)
      else yield event
    }
  }
  for (const [name, value] of figures) {
    yield { type: 'test:diagnostic', data: { nesting: 0, message: `${name} ${value}`, level: 'info' } }
  }
}

function settingsOf({ files, isAlone, isInMemory }: Lane) {
  const environment = { ...process.env, ...(isInMemory && memory !== undefined && { TMPDIR: memory }) }
  return { files, concurrency: isAlone ? 1 : availableParallelism(), env: environment }
}

/** `tests 12`, of no file. */
function figureOf(event: TestEvent): { name: string; value: number } | undefined {
  if (event.type !== 'test:diagnostic' || event.data.file !== undefined) return undefined
  const [name = '', value] = event.data.message.split(' ')
  return { name, value: Number(value) }
}

await pipeline(Readable.from(events()), new spec(), process.stdout, { end: false })
