import { type Benchmark, inTurn, type Setting } from './support/benchmark.ts'
import { get } from './support/client-connection.ts'
import type { Contender } from './support/contenders.ts'
import { type LoadRequest, type LoadResult, load, loadSmall } from './support/load.ts'
import {
  blobUrl,
  isWhole,
  layerOf,
  manifestHeaders,
  manifestUrl,
  type Stage,
  setStage,
  settledTraffic,
} from './support/pulls.ts'
import { type ComparedRow, compare } from './support/table.ts'
import { megabyte, showCount } from './support/units.ts'

interface Outcome {
  /** Requests or gigabytes a second. */
  readonly rate: number
  /** Processor seconds of the server for a request or a gigabyte. */
  readonly cpu: number
}

interface Case {
  readonly title: string
  readonly isLarge: boolean
  readonly target: (stage: Stage) => Pick<LoadRequest, 'url' | 'headers'>
}

const connectionCounts = [1, 4, 32]
const warmings = 20
const small = { title: '2-byte blob', size: 2 }
const config = { title: '1.5 kB blob', size: 1500 }
const layerIndex = { small: 0, config: 1, large: 2 }

/** What a hit costs: of a manifest, of a config, of a layer. */
export const cached: Benchmark = {
  name: 'cached',
  title: 'What is cached',
  async run(setting) {
    await using stages = new AsyncDisposableStack()
    const size = (setting.isQuick ? 16 : 256) * megabyte
    const byName = new Map<string, Stage>()
    for (const contender of setting.contenders) {
      setting.tell(`warming ${contender.name}`)
      const stage = stages.use(await setStage(contender, { layerSizes: [small.size, config.size, size] }))
      await warm(stage, setting.signal)
      byName.set(contender.name, stage)
    }
    const rows: ComparedRow[] = []
    for (const one of casesFor(size)) {
      for (const stage of byName.values()) await measure(one, 1, stage, setting)
      for (const connections of connectionCounts) {
        rows.push(...(await rowsOf(one, connections, byName, setting)))
      }
    }
    return compare(['what', 'connections', 'measured'], setting.contenders, rows, [
      'Medians of 3 runs of 1 s, after one that is not counted; processor time of the server alone, user and system.',
      'docker-registry asks its upstream, here on the same machine without a delay, about the tag for each request.',
    ])
  },
}

function casesFor(size: number): readonly Case[] {
  const blobAt = (index: number) => (stage: Stage) => ({
    url: blobUrl(stage.mirror, stage.image, layerOf(stage.image, index)),
  })
  return [
    {
      title: 'manifest by tag',
      isLarge: false,
      target: ({ mirror, image }) => ({ url: manifestUrl(mirror, image), headers: manifestHeaders }),
    },
    {
      title: 'manifest by digest',
      isLarge: false,
      target: ({ mirror, image }) => ({
        url: manifestUrl(mirror, { ...image, tag: image.manifest.digest }),
        headers: manifestHeaders,
      }),
    },
    { title: small.title, isLarge: false, target: blobAt(layerIndex.small) },
    { title: config.title, isLarge: false, target: blobAt(layerIndex.config) },
    { title: `${size / megabyte} MB blob`, isLarge: true, target: blobAt(layerIndex.large) },
  ]
}

async function rowsOf(
  one: Case,
  connections: number,
  stages: ReadonlyMap<string, Stage>,
  setting: Setting,
): Promise<ComparedRow[]> {
  const options = { label: `${one.title}, ${connections} connections`, runs: setting.isQuick ? 1 : 3 }
  const results = await inTurn(setting, options, (contender) =>
    measure(one, connections, stageOf(contender, stages), setting),
  )
  const pick = (read: (outcome: Outcome) => number) =>
    new Map([...results].map(([name, outcomes]) => [name, outcomes.map(read)]))
  const [rate, cpu] = one.isLarge
    ? [
        { unit: 'GB/s', show: showTwoDigits },
        { unit: 'CPU s/GB', show: showTwoDigits },
      ]
    : [
        { unit: 'requests/s', show: showCount },
        { unit: 'CPU us/request', show: (value: number) => showCount(value * 1e6) },
      ]
  const isFirst = connections === connectionCounts[0]
  return [
    {
      label: [isFirst ? one.title : '', String(connections), rate.unit],
      values: pick((outcome) => outcome.rate),
      show: rate.show,
      better: 'more',
    },
    { label: ['', '', cpu.unit], values: pick((outcome) => outcome.cpu), show: cpu.show, better: 'less' },
  ]
}

async function measure(one: Case, connections: number, stage: Stage, { signal }: Setting): Promise<Outcome> {
  const request = { ...one.target(stage), connections, seconds: 1 }
  const before = await stage.mirror.cpuSeconds()
  const result = await (one.isLarge ? load : loadSmall)(request, signal)
  const cpuSeconds = (await stage.mirror.cpuSeconds()) - before
  if (result.failures > 0) throw new Error(`${result.failures} of ${result.requests} answers were wrong`)
  const units = unitsOf(one, result)
  return { rate: units / result.seconds, cpu: cpuSeconds / units }
}

function unitsOf({ isLarge }: Case, { bytes, requests }: LoadResult): number {
  return isLarge ? bytes / 1e9 : requests
}

/** Asks for everything until it comes whole and nothing of it from the upstream any more. */
async function warm(stage: Stage, signal: AbortSignal): Promise<void> {
  const { hub, mirror, image } = stage
  for (const layer of image.layers) {
    let isWarm = false
    for (let left = warmings; !isWarm && left > 0; left -= 1) {
      const before = (await hub.traffic()).bytes
      const received = await get(blobUrl(mirror, image, layer), { isHashed: true, signal })
      // A mirror may go on to store for a while; docker-registry also fails meanwhile, now and then.
      isWarm = (await settledTraffic(stage, signal)) === before && isWhole(received, layer)
    }
    if (!isWarm) throw new Error(`warming failed: ${layer.size} bytes do not stay in the cache`)
  }
}

function stageOf({ name }: Contender, stages: ReadonlyMap<string, Stage>): Stage {
  const stage = stages.get(name)
  if (!stage) throw new TypeError(`there is no stage for ${name}`)
  return stage
}

function showTwoDigits(value: number): string {
  return value.toFixed(2)
}
