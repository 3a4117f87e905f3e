import { type Benchmark, inTurn, type Setting } from './support/benchmark.ts'
import { get, type Received } from './support/client-connection.ts'
import type { Contender } from './support/contenders.ts'
import { blobUrl, isWhole, layerOf, type Stage, setStage, settledTraffic } from './support/pulls.ts'
import { type ComparedRow, compare } from './support/table.ts'
import { megabits, megabyte, showCount, showMilliseconds, showMultiple } from './support/units.ts'

const roundTripMs = 20
const bytesPerSecond = megabits(160)
const slowBytesPerSecond = 200_000
const otherClients = 3

/** One thing that happens while a blob is on its way, and the figures that come out of it, by their names. */
type Scene = (stage: Stage, signal: AbortSignal) => Promise<Record<string, number>>

interface Figure {
  readonly name: string
  readonly show: (value: number) => string
  readonly better?: 'more' | 'less'
}

const upstream: Figure = { name: 'upstream bytes / blob', show: showMultiple, better: 'less' }
const others: Figure = { name: `others with the whole blob, of ${otherClients}`, show: showCount }
const scenes: readonly { title: string; scene: Scene; figures: readonly Figure[] }[] = [
  {
    title: 'a second client at half',
    scene: secondClient,
    figures: [
      { name: 'its first byte', show: showMilliseconds, better: 'less' },
      { name: 'it has that half', show: showMilliseconds, better: 'less' },
      upstream,
    ],
  },
  { title: 'the first of 4 leaves at half', scene: firstLeaves, figures: [others, upstream] },
  {
    title: 'all leave at half, one comes at once',
    scene: allLeave,
    figures: [{ name: 'its time / line', show: showMultiple, better: 'less' }, upstream],
  },
  {
    title: `a client at ${slowBytesPerSecond / 1000} kB/s beside ${otherClients}`,
    scene: slowBesideFast,
    figures: [{ name: "the others' time / line", show: showMultiple, better: 'less' }, others],
  },
  {
    title: `the same ${otherClients} without it`,
    scene: fastAlone,
    figures: [{ name: "the others' time / line", show: showMultiple, better: 'less' }],
  },
]

/** What clients do to each other while a blob is on its way. */
export const midway: Benchmark = {
  name: 'midway',
  title: 'Clients that come late, leave, or crawl while a blob is on its way',
  async run(setting) {
    const size = setting.isQuick ? 4 * megabyte : 16 * megabyte
    const rows: ComparedRow[] = []
    for (const { title, scene, figures } of scenes) {
      const results = await inTurn(setting, { label: title, runs: setting.isQuick ? 1 : 3 }, (contender) =>
        play(scene, contender, size, setting),
      )
      for (const [index, { name, ...figure }] of figures.entries()) {
        const values = new Map(
          [...results].map(([contender, all]) => [contender, all.map((one) => one[name] ?? Number.NaN)]),
        )
        rows.push({ label: [index === 0 ? title : '', name], values, ...figure })
      }
    }
    const parameters = `A blob of ${size / megabyte} MB over 160 Mbit/s, round trip ${roundTripMs} ms.`
    const headStart = 'Those beside the slow client come after it, so that they find its first bytes there.'
    return compare(['what happens', 'measured'], setting.contenders, rows, [
      parameters,
      headStart,
      'Medians of 3 runs.',
    ])
  },
}

async function play(
  scene: Scene,
  contender: Contender,
  size: number,
  { signal }: Setting,
): Promise<Record<string, number>> {
  await using stage = await setStage(contender, { bytesPerSecond, roundTripMs, layerSizes: [size] })
  const before = await stage.hub.traffic()
  const figures = await scene(stage, signal)
  const bytes = await settledTraffic(stage, signal)
  return { ...figures, [upstream.name]: (bytes - before.bytes) / size }
}

async function secondClient(stage: Stage, signal: AbortSignal): Promise<Record<string, number>> {
  const first = start(stage, signal)
  const half = await first.reached(0.5)
  const askedAt = performance.now()
  let halfAt = Number.NaN
  const url = blobUrl(stage.mirror, stage.image, layerOf(stage.image))
  const onProgress = (bytes: number): void => {
    if (bytes >= half && Number.isNaN(halfAt)) halfAt = performance.now()
  }
  const [second] = await Promise.all([get(url, { onProgress, signal }), first.received])
  return { 'its first byte': second.firstByteMs, 'it has that half': halfAt - askedAt }
}

async function firstLeaves(stage: Stage, signal: AbortSignal): Promise<Record<string, number>> {
  const first = start(stage, signal)
  await first.reached(0.25)
  const rest = Array.from({ length: otherClients }, () => start(stage, signal))
  await first.reached(0.5)
  first.leave()
  return { [others.name]: await countWhole(stage, rest) }
}

async function allLeave(stage: Stage, signal: AbortSignal): Promise<Record<string, number>> {
  const clients = [start(stage, signal), start(stage, signal)]
  await Promise.all(clients.map(({ reached }) => reached(0.5)))
  for (const { leave } of clients) leave()
  const later = await start(stage, signal).received
  const blob = layerOf(stage.image)
  if (!isWhole(later, blob)) throw new Error('the later client did not get the blob')
  return { 'its time / line': later.totalMs / 1000 / (blob.size / bytesPerSecond) }
}

async function slowBesideFast(stage: Stage, signal: AbortSignal): Promise<Record<string, number>> {
  const slow = start(stage, signal, slowBytesPerSecond)
  await slow.reached(0.001)
  const figures = await fastAlone(stage, signal)
  slow.leave()
  return figures
}

async function fastAlone(stage: Stage, signal: AbortSignal): Promise<Record<string, number>> {
  const fast = Array.from({ length: otherClients }, () => start(stage, signal))
  const whole = await countWhole(stage, fast)
  const slowestMs = Math.max(
    ...(await Promise.all(fast.map(({ received }) => received))).map(({ totalMs }) => totalMs),
  )
  const lineSeconds = layerOf(stage.image).size / bytesPerSecond
  return { [others.name]: whole, "the others' time / line": slowestMs / 1000 / lineSeconds }
}

interface Client {
  readonly received: Promise<Received>
  /** Resolves with the bytes that it has as soon as they are this share of the blob. */
  reached(share: number): Promise<number>
  leave(): void
}

function start(stage: Stage, signal: AbortSignal, bytesPerSecondAtMost?: number): Client {
  const blob = layerOf(stage.image)
  const left = new AbortController()
  const waiting: { bytes: number; reached: (bytes: number) => void; failed: (error: Error) => void }[] = []
  let has = 0
  const received = get(blobUrl(stage.mirror, stage.image, blob), {
    isHashed: true,
    signal: AbortSignal.any([left.signal, signal]),
    ...(bytesPerSecondAtMost === undefined ? {} : { bytesPerSecond: bytesPerSecondAtMost }),
    onProgress(bytes) {
      has = bytes
      for (const one of waiting) if (bytes >= one.bytes) one.reached(bytes)
    },
  })
  const ended = (): void => {
    for (const one of waiting) one.failed(new Error(`a client ended with ${has} bytes`))
  }
  received.then(ended, ended)
  return {
    received,
    leave: () => left.abort(),
    reached: (share) =>
      new Promise((resolve, reject) => {
        if (has >= share * blob.size) resolve(has)
        else waiting.push({ bytes: share * blob.size, reached: resolve, failed: reject })
      }),
  }
}

async function countWhole(stage: Stage, clients: readonly Client[]): Promise<number> {
  const blob = layerOf(stage.image)
  const received = await Promise.all(clients.map((client) => client.received))
  return received.filter((one) => isWhole(one, blob)).length
}
