import { type Benchmark, inTurn, type Setting } from './support/benchmark.ts'
import { get, type Received } from './support/client-connection.ts'
import type { Contender } from './support/contenders.ts'
import { blobUrl, isWhole, layerOf, setStage, settledTraffic } from './support/pulls.ts'
import { compare } from './support/table.ts'
import { megabits, megabyte, showCount, showMultiple } from './support/units.ts'

const roundTripMs = 20
const bytesPerSecond = megabits(160)
const cuts = 20
const maximumAttempts = 30
const wrongBytesClients = 10

interface CutOutcome {
  /** Bytes of the first body before it ended, as a share of the blob. */
  readonly firstAttempt: number
  readonly attempts: number
  readonly fetched: number
  readonly time: number
}

interface WrongByteOutcome {
  /** Bodies that were as long as promised, and wrong. */
  readonly wrong: number
  /** Clients that got the right body once the upstream was right again. */
  readonly right: number
}

/** What a client sees of a line that breaks, and of an upstream that sends a wrong byte. */
export const lineDrops: Benchmark = {
  name: 'line-drops',
  title: 'A line that drops, and an upstream that sends a wrong byte',
  async run(setting) {
    const size = (setting.isQuick ? 2 : 20) * megabyte
    const runs = setting.isQuick ? 1 : 3
    const cut = await inTurn(setting, { label: 'cuts', runs }, (contender) =>
      measureCuts(contender, size, setting),
    )
    const wrong = await inTurn(setting, { label: 'wrong byte', runs }, (contender) =>
      measureWrongByte(contender, setting),
    )
    const cutBy = (read: (outcome: CutOutcome) => number) => valuesOf(cut, read)
    const wrongBy = (read: (outcome: WrongByteOutcome) => number) => valuesOf(wrong, read)
    const scene = `${cuts} cuts in ${size / megabyte} MB`
    const rows = [
      {
        label: [scene, 'first body, share of the blob'],
        values: cutBy((one) => one.firstAttempt),
        show: showShare,
      },
      {
        label: ['', 'attempts until it is whole'],
        values: cutBy((one) => one.attempts),
        show: showCount,
        better: 'less',
      },
      {
        label: ['', 'upstream bytes / blob'],
        values: cutBy((one) => one.fetched),
        show: showMultiple,
        better: 'less',
      },
      { label: ['', 'time / line'], values: cutBy((one) => one.time), show: showMultiple, better: 'less' },
      {
        label: [`a wrong byte, ${wrongBytesClients} clients`, 'complete wrong bodies'],
        values: wrongBy((one) => one.wrong),
        show: showCount,
      },
      {
        label: ['right again, one client', 'complete right bodies'],
        values: wrongBy((one) => one.right),
        show: showCount,
      },
    ] as const
    return compare(['what happens', 'measured'], setting.contenders, rows, [
      `Over 160 Mbit/s, round trip ${roundTripMs} ms; one cut at each ${size / cuts / 1000} kB of the blob, ${cuts} in all.`,
      'A client begins anew after an attempt that broke. Medians of 3 runs.',
    ])
  },
}

async function measureCuts(contender: Contender, size: number, { signal }: Setting): Promise<CutOutcome> {
  await using stage = await setStage(contender, { bytesPerSecond, roundTripMs, layerSizes: [size] })
  const { hub, mirror, image } = stage
  const blob = layerOf(image)
  await hub.fault({ listener: 'cdn', digest: blob.digest }, { cutEvery: size / cuts }, cuts)
  const before = await hub.traffic()
  const startedAt = performance.now()
  const attempts: Received[] = []
  while (attempts.length < maximumAttempts && !attempts.some((one) => isWhole(one, blob))) {
    signal.throwIfAborted()
    attempts.push(await get(blobUrl(mirror, image, blob), { isHashed: true, signal }))
  }
  const seconds = (performance.now() - startedAt) / 1000
  const bytes = await settledTraffic(stage, signal)
  return {
    firstAttempt: (attempts[0]?.bytes ?? 0) / size,
    attempts: attempts.length,
    fetched: (bytes - before.bytes) / size,
    time: seconds / (size / bytesPerSecond),
  }
}

async function measureWrongByte(contender: Contender, { signal }: Setting): Promise<WrongByteOutcome> {
  const size = 2 * megabyte
  await using stage = await setStage(contender, { bytesPerSecond, roundTripMs, layerSizes: [size] })
  const { hub, mirror, image } = stage
  const blob = layerOf(image)
  const pull = () => get(blobUrl(mirror, image, blob), { isHashed: true, signal })
  await hub.fault({ listener: 'cdn', digest: blob.digest }, { flipAt: size / 2 })
  const received = await Promise.all(Array.from({ length: wrongBytesClients }, pull))
  await hub.clearFaults()
  return {
    wrong: received.filter((one) => one.status === 200 && one.isComplete && one.digest !== blob.digest)
      .length,
    right: isWhole(await pull(), blob) ? 1 : 0,
  }
}

function valuesOf<Outcome>(
  results: ReadonlyMap<string, readonly Outcome[]>,
  read: (outcome: Outcome) => number,
): Map<string, number[]> {
  return new Map([...results].map(([name, outcomes]) => [name, outcomes.map(read)]))
}

function showShare(share: number): string {
  return `${Math.round(share * 100)} %`
}
