import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type DockerHub, startDockerHub } from '../support/docker-hub.ts'
import { Countdown } from './countdown.ts'
import { type DownloadCounts, Downloader } from './downloader.ts'
import { Random } from './random.ts'
import type { TortureOptions } from './report.ts'
import { TortureServers } from './server.ts'

export interface DownloadKillsReport {
  readonly problems: readonly string[]
  readonly counts: DownloadCounts
}

/** In one process: what costs most is to start it. */
const lardersAtOnce = 2
/** Of each Larder, at a time. */
const downloadsAtOnce = 4
/** Bytes a second of each answer: what a kernel holds of a slow line is little, and goes with the process. */
const bytesPerSecond = 600_000
/** Of all kills: while it starts, in its first so many milliseconds. */
const duringStart = { share: 0.1, ms: 500 }
/** Pieces that clients get in the life of a process, at most. */
const pieces = 150
const enoughProblems = 5
/** Bytes that the kill of one download may cost, in the mean. */
const lostBytes = 512 * 1024
/** Some of what is whole is evicted; what is on its way is not. */
const config = { 'cache.maxSize': 60_000_000, 'cache.minFree': 0, 'limits.downloads': downloadsAtOnce }

/**
 * Kills Larders in the middle of downloads, until so many downloads were cut: each byte that their clients get is
 * compared, and what crosses the line again is counted.
 */
export async function torturedByDownloadKills(options: TortureOptions): Promise<DownloadKillsReport> {
  const { folder, seed, count, onRound } = options
  const random = new Random(seed)
  const problems: string[] = []
  const countdown = new Countdown()
  await using hub = await startDockerHub({ auth: 'none', cdn: false })
  hub.fault({ method: 'GET', path: /\/blobs\// }, { bytesPerSecond })
  const folders = Array.from({ length: lardersAtOnce }, (_, n) => join(folder, `${n}`))
  for (const one of folders) await mkdir(one)
  const downloaders = folders.map((_, n) =>
    ofLarder(n, { hub, random, problems, onBytes: countdown.answered }),
  )
  await using servers = new TortureServers(folders, hub.url, config)
  const cuts = () => sumOf(downloaders.flat().map((one) => one.counts)).cut
  while (cuts() < count && problems.length < enoughProblems) {
    onRound?.(cuts())
    const killAfterMs = random.isLikely(duringStart.share) ? random.below(duringStart.ms) : undefined
    const server = await servers.start(killAfterMs)
    if (!server) continue
    const enough = countdown.begin(1 + random.below(pieces))
    const working = downloaders.flatMap((some, n) => some.map((one) => one.work(server.urls[n] ?? '')))
    await enough
    await sleep(random.next() * 10)
    await server.kill()
    await Promise.all(working)
  }
  const last = await servers.start()
  await Promise.all(downloaders.flatMap((some, n) => some.map((one) => one.finish(last?.urls[n] ?? ''))))
  const counts = sumOf(downloaders.flat().map((one) => one.counts))
  if (counts.again > counts.cut * lostBytes)
    problems.push(`${counts.again} bytes crossed the line again, after ${counts.cut} kills of downloads`)
  return { problems, counts }
}

function ofLarder(
  n: number,
  {
    hub,
    random,
    problems,
    onBytes,
  }: { hub: DockerHub; random: Random; problems: string[]; onBytes: () => void },
): Downloader[] {
  return Array.from({ length: downloadsAtOnce }, (_, index) => {
    const name = `download ${index} of Larder ${n}`
    const onProblem = (problem: string): void => void problems.push(`${name}: ${problem}`)
    return new Downloader({ name, hub, random: new Random(random.below(2 ** 32)), onProblem, onBytes })
  })
}

function sumOf(all: readonly DownloadCounts[]): DownloadCounts {
  return all.reduce((sum, one) => ({
    whole: sum.whole + one.whole,
    cut: sum.cut + one.cut,
    bytes: sum.bytes + one.bytes,
    again: sum.again + one.again,
    mostAgain: Math.max(sum.mostAgain, one.mostAgain),
  }))
}

export function tellDownloads(
  t: { diagnostic(line: string): void },
  { counts: { whole, cut, again, mostAgain } }: DownloadKillsReport,
): void {
  const mean = Math.round(again / Math.max(1, cut))
  t.diagnostic(`${whole} blobs came whole, ${cut} downloads were killed`)
  t.diagnostic(`bytes that came again: ${mean} a kill, at most ${Math.round(mostAgain)} for one blob`)
}
