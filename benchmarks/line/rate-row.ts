import { setTimeout as sleep } from 'node:timers/promises'
import { type Contender, dockerRegistry } from '../support/contenders.ts'
import type { ImageSummary } from '../support/hub-control.ts'
import type { HubProcess } from '../support/hub-process.ts'
import { ImageClient } from '../support/image-client.ts'
import { settledTraffic } from '../support/pulls.ts'
import { median, showRange } from '../support/table.ts'
import { megabits, megabyte, showMultiple } from '../support/units.ts'
import { bytesOf } from './limit.ts'
import { type Cells, verdict } from './line-table.ts'
import type { Line } from './rows.ts'
import { type LineSetting, openScene } from './setting.ts'

interface Case {
  readonly what: string
  /** Of each image. */
  readonly layerSizes: readonly number[]
  /** Each with a client of its own, all at the same moment. */
  readonly images: number
  readonly settings: Readonly<Record<string, string>>
}

interface Outcome {
  /** Megabits a second over the line, from the first blob's bytes to the last byte. */
  readonly rate: number
  readonly connections: number
  /** Bytes over the line, as a multiple of the images. */
  readonly upstream: number
}

/** Bytes that have come by a moment, in milliseconds. */
interface Sample {
  readonly at: number
  readonly bytes: number
}

const line: Line = {
  bytesPerSecond: megabits(40),
  roundTripMs: 50,
  windowBytes: 128 * 1024,
  isTls: true,
}
const limit = 5
const most = { rateOff: 0.05, upstream: 1.005 }
const sampleMs = 50
/** Bytes over the line by which handshakes, tokens and manifests are over, and the blobs have begun. */
const begunBytes = 100_000
const rate = { MIRROR_LIMITS_RATE: `${limit}Mbit/s` }
const cases: readonly Case[] = [
  { what: 'one blob of 8 MB', layerSizes: [8 * megabyte], images: 1, settings: rate },
  {
    what: '4 clients, 3 blobs of 1 MB each, two at a time',
    layerSizes: Array<number>(3).fill(megabyte),
    images: 4,
    settings: { ...rate, MIRROR_LIMITS_DOWNLOADS: '2' },
  },
]

/** What comes over a wider line where `limits.rate` is set: docker-registry has nothing like it. */
export async function measureRate(setting: LineSetting): Promise<Cells[]> {
  const contenders = setting.contenders.filter((one) => one !== dockerRegistry)
  const rows: Cells[] = []
  for (const one of cases) {
    const outcomes = new Map<string, Outcome[]>(contenders.map(({ name }) => [name, []]))
    for (let run = 0; run < (setting.runs ?? 1); run += 1) {
      for (const contender of contenders) {
        setting.tell(`9. limits.rate, ${one.what}: ${contender.name}, run ${run + 1}`)
        const outcome = await measure(contender, one, setting.signal)
        setting.tell(`   ${outcome.rate.toFixed(2)} Mbit/s, upstream ${showMultiple(outcome.upstream)}`)
        outcomes.get(contender.name)?.push(outcome)
      }
    }
    rows.push(cellsOf(one, outcomes))
  }
  return rows
}

function cellsOf({ what }: Case, outcomes: ReadonlyMap<string, readonly Outcome[]>): Cells {
  const [own = []] = outcomes.values()
  const show = (value: number): string => `${value.toFixed(2)} Mbit/s`
  const upstream = median(own.map((one) => one.upstream))
  const isOff = own.some((one) => Math.abs(one.rate / limit - 1) > most.rateOff)
  return {
    '#': '9',
    line: `limits.rate ${limit} Mbit/s`,
    what,
    ...Object.fromEntries(
      [...outcomes].map(([name, all]) => [
        name,
        showRange(
          all.map((one) => one.rate),
          show,
        ),
      ]),
    ),
    limit: show(limit),
    '/ limit': (median(own.map((one) => one.rate)) / limit).toFixed(2),
    upstream: showMultiple(upstream),
    connections: showRange(
      own.map(({ connections }) => connections),
      String,
    ),
    goal: `within ${most.rateOff * 100} %, upstream ${showMultiple(1)}`,
    '': verdict(own.length > 0 && !isOff && upstream <= most.upstream),
  }
}

async function measure(
  contender: Contender,
  { layerSizes, images: count, settings }: Case,
  signal: AbortSignal,
): Promise<Outcome> {
  await using scene = await openScene(line)
  const { hub, ca } = scene
  const add = (index: number): Promise<ImageSummary> =>
    hub.addImage({ repository: `library/bench-${index}`, tag: 'rate', layerSizes, seed: `rate ${index}` })
  const images = await Promise.all(Array.from({ length: count }, (_, index) => add(index)))
  await using server = await contender.start(hub.url, { ca, settings })
  const before = await hub.traffic()
  const done = new AbortController()
  const sampled = sample(hub, before.bytes, done.signal)
  await Promise.all(
    images.map(async (image) => {
      using client = new ImageClient({ url: server.url, signal })
      await client.pull(image)
    }),
  )
  done.abort()
  const samples = await sampled
  const bytes = await settledTraffic({ hub }, signal)
  return {
    rate: rateOf(samples),
    connections: (await hub.traffic()).connections - before.connections,
    upstream: (bytes - before.bytes) / images.reduce((sum, image) => sum + bytesOf(image), 0),
  }
}

async function sample(hub: HubProcess, from: number, until: AbortSignal): Promise<Sample[]> {
  const samples: Sample[] = []
  while (!until.aborted) {
    const { bytes } = await hub.traffic()
    samples.push({ at: performance.now(), bytes: bytes - from })
    await sleep(sampleMs)
  }
  return samples
}

/** Megabits a second, from the first sample with bytes of blobs to the one in which the last byte was there. */
function rateOf(samples: readonly Sample[]): number {
  const total = samples.at(-1)?.bytes ?? 0
  const first = samples.find(({ bytes }) => bytes >= begunBytes)
  const last = samples.find(({ bytes }) => bytes >= total)
  if (!first || !last) return Number.NaN
  return ((last.bytes - first.bytes) * 8) / 1_000_000 / ((last.at - first.at) / 1000)
}
