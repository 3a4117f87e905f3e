import { type Benchmark, inTurn, type Setting } from './support/benchmark.ts'
import { get } from './support/client-connection.ts'
import { type Contender, larder } from './support/contenders.ts'
import { blobUrl, isWhole, layerOf, setStage, settledTraffic } from './support/pulls.ts'
import { type ComparedRow, compare } from './support/table.ts'
import { megabits, megabyte, showMultiple } from './support/units.ts'

interface Case {
  readonly clients: number
  /** Of the blob, in bytes. */
  readonly size: number
  readonly megabitsPerSecond: number
  readonly runs: number
  /** A mirror that fetches once a client would need most of an hour for it. */
  readonly isLarderAlone?: boolean
}

interface Outcome {
  /** Bytes over the line, as a multiple of the blob. */
  readonly fetched: number
  /** Time of the slowest client, as a multiple of what the line needs to carry the blob once. */
  readonly time: number
}

const roundTripMs = 20
/** One client in so many compares the digest, all the size: a hash of everything would measure the clients. */
const hashEvery = 10
// Many clients of a mirror that fetches once a client take that many times as long: a small blob bounds the run.
const cases: readonly Case[] = [
  { clients: 1, size: 32 * megabyte, megabitsPerSecond: 200, runs: 3 },
  { clients: 10, size: 32 * megabyte, megabitsPerSecond: 200, runs: 3 },
  { clients: 100, size: 8 * megabyte, megabitsPerSecond: 200, runs: 2 },
  { clients: 100, size: 32 * megabyte, megabitsPerSecond: 20, runs: 1, isLarderAlone: true },
]
const quickCases: readonly Case[] = [
  { clients: 1, size: megabyte, megabitsPerSecond: 80, runs: 1 },
  { clients: 5, size: megabyte, megabitsPerSecond: 80, runs: 1 },
]

/** How often a blob crosses the line that many clients want at once while nobody has it. */
export const fanIn: Benchmark = {
  name: 'fan-in',
  title: 'Many clients, one cold blob, a slow line',
  async run(setting) {
    const rows: ComparedRow[] = []
    for (const one of setting.isQuick ? quickCases : cases) rows.push(...(await rowsOf(one, setting)))
    return compare(['clients and line', 'measured'], setting.contenders, rows, [
      `Round trip ${roundTripMs} ms. Medians of 3 runs, of 2 with 100 clients.`,
    ])
  },
}

async function rowsOf(one: Case, all: Setting): Promise<ComparedRow[]> {
  const contenders = all.contenders.filter((contender) => contender === larder || !one.isLarderAlone)
  const setting = { ...all, contenders }
  const label = `${one.clients} on ${one.size / megabyte} MB, ${one.megabitsPerSecond} Mbit/s`
  const results = await inTurn(setting, { label, runs: one.runs }, (contender) =>
    measure(contender, one, setting.signal),
  )
  const pick = (read: (outcome: Outcome) => number) =>
    new Map([...results].map(([name, outcomes]) => [name, outcomes.map(read)]))
  return [
    {
      label: [label, 'upstream bytes / blob'],
      values: pick(({ fetched }) => fetched),
      show: showMultiple,
      better: 'less',
    },
    {
      label: ['', 'slowest client / line'],
      values: pick(({ time }) => time),
      show: showMultiple,
      better: 'less',
    },
  ]
}

async function measure(contender: Contender, one: Case, signal: AbortSignal): Promise<Outcome> {
  const bytesPerSecond = megabits(one.megabitsPerSecond)
  await using stage = await setStage(contender, { bytesPerSecond, roundTripMs, layerSizes: [one.size] })
  const { hub, mirror, image } = stage
  const blob = layerOf(image)
  const before = await hub.traffic()
  const received = await Promise.all(
    Array.from({ length: one.clients }, (_, index) =>
      get(blobUrl(mirror, image, blob), { isHashed: index % hashEvery === 0, signal }),
    ),
  )
  signal.throwIfAborted()
  const failed = received.filter((each) => !isWhole(each, blob)).length
  if (failed > 0)
    throw new Error(`${failed} of ${one.clients} clients of ${contender.name} did not get the blob`)
  const slowestMs = Math.max(...received.map(({ totalMs }) => totalMs))
  const bytes = await settledTraffic(stage, signal)
  return {
    fetched: (bytes - before.bytes) / blob.size,
    time: slowestMs / 1000 / (blob.size / bytesPerSecond),
  }
}
