import { globSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { relative } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { run } from 'node:test'
import { spec, type TestEvent } from 'node:test/reporters'
import { type Lane, lanesOf } from './support/lanes.ts'
import { memoryFolder } from './support/memory-folder.ts'

/** Milliseconds, for one file: several times what the longest one takes on a machine of two cores. */
const timeout = 900_000

const memory = memoryFolder()

/** Files of each lane that are named with the time that they took. */
const namedFiles = 8

/**
 * What happens in one lane after the other, as if it were one run: its figures are told once, at the end, and so is its
 * summary, at which the reporter lists what failed: somebody who sees the end of a long output sees all of it.
 */
async function* events(): AsyncGenerator<TestEvent> {
  const figures = new Map<string, number>()
  let summary: TestEvent | undefined
  for (const lane of lanesOf(globSync('test/**/*.test.ts'))) {
    const startedAt = performance.now()
    const fileMs = new Map<string, number>()
    for await (const event of run({ ...settingsOf(lane), timeout }) as AsyncIterable<TestEvent>) {
      if (event.type === 'test:summary' && !event.data.success) process.exitCode = 1
      const figure = figureOf(event)
      if (event.type === 'test:summary' && event.data.file === undefined) summary = event
      else if (figure) figures.set(figure.name, (figures.get(figure.name) ?? 0) + figure.value)
      else yield event
      const { file, ms } = timeOf(event) ?? {}
      if (file !== undefined) fileMs.set(file, (fileMs.get(file) ?? 0) + (ms ?? 0))
    }
    yield told(timesOfLane(lane, performance.now() - startedAt, fileMs))
  }
  for (const [name, value] of figures) {
    yield told(`${name} ${value}`)
  }
  if (summary !== undefined) yield summary
}

function told(message: string): TestEvent {
  return { type: 'test:diagnostic', data: { nesting: 0, message, level: 'info' } }
}

/** Milliseconds that a test of a file took which is part of no other. */
function timeOf(event: TestEvent): { file: string; ms: number } | undefined {
  if (event.type !== 'test:pass' && event.type !== 'test:fail') return undefined
  const { nesting, file, details } = event.data
  return nesting > 0 || file === undefined ? undefined : { file, ms: details.duration_ms }
}

function timesOfLane({ files, isAlone }: Lane, ms: number, fileMs: ReadonlyMap<string, number>): string {
  const longest = [...fileMs].toSorted(([, one], [, other]) => other - one).slice(0, namedFiles)
  const named = longest.map(([file, each]) => `${relative('.', file)} ${seconds(each)}`)
  const how = isAlone ? 'one after the other' : 'at once'
  return `${files.length} files, ${how}, in ${seconds(ms)}; the longest: ${named.join(', ')}`
}

function seconds(ms: number): string {
  return `${Math.round(ms / 1000)} s`
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
