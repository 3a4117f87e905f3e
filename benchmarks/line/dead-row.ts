import { setTimeout as sleep } from 'node:timers/promises'
import { ClientConnection } from '../support/client-connection.ts'
import { type Contender, dockerRegistry } from '../support/contenders.ts'
import type { ImageSummary } from '../support/hub-control.ts'
import type { HubProcess } from '../support/hub-process.ts'
import { ImageClient } from '../support/image-client.ts'
import { manifestHeaders } from '../support/pulls.ts'
import { showMilliseconds } from '../support/units.ts'
import { type Cells, verdict } from './line-table.ts'
import type { Line } from './rows.ts'
import { type LineSetting, openScene } from './setting.ts'

interface Answer {
  /** Milliseconds from the death of the upstream to the question. */
  readonly askedAt: number
  /** Milliseconds to the first byte; infinite where none came, or another answer than that of the cache. */
  readonly firstByteMs: number
}

const manners = ['refusing', 'hanging'] as const
type Manner = (typeof manners)[number]

/** For filling the cache: nothing crosses it while it is dead. */
const line: Line = { bytesPerSecond: 10_000_000, roundTripMs: 20, isTls: true }
const layerSizes = Array<number>(5).fill(50_000)
/** A pull begins so often, whatever became of those before: who waits would otherwise ask less, and not be seen. */
const pullEveryMs = 100
const [countedFromMs, pullsForMs] = [1000, 10_000]
/** What has not begun by then, never will. */
const longestMs = 10_000
const goalMs = 20

/**
 * What a client notices of an upstream that is dead: images that are in the cache, whose tags are to be compared with
 * their upstream at each pull.
 */
export async function measureDead(setting: LineSetting): Promise<Cells[]> {
  const rows: Cells[] = []
  for (const manner of manners) {
    const found = new Map<string, number>()
    for (const contender of setting.contenders) {
      setting.signal.throwIfAborted()
      setting.tell(`8. upstream dead, ${manner}: ${contender.name}`)
      const answers = await measure(contender, manner, setting.signal)
      const counted = answers.filter(({ askedAt }) => askedAt >= countedFromMs)
      found.set(contender.name, percentile(99, counted))
      setting.tell(`   ${counted.length} of ${answers.length} answers, p50 ${percentile(50, counted)} ms`)
    }
    const [own = Number.NaN] = found.values()
    rows.push({
      '#': '8',
      line: `upstream dead: ${manner}`,
      what: 'cached pull, p99 of the first byte after a second',
      ...Object.fromEntries([...found].map(([name, ms]) => [name, showWait(ms)])),
      goal: `<= ${goalMs} ms`,
      '': verdict(own <= goalMs),
    })
  }
  return rows
}

async function measure(contender: Contender, manner: Manner, signal: AbortSignal): Promise<Answer[]> {
  await using scene = await openScene(line)
  const { hub, ca } = scene
  const image = await hub.addImage({ repository: 'library/bench', tag: 'dead', layerSizes, seed: 'dead' })
  await using server = await contender.start(hub.url, { ca, settings: { MIRROR_CACHE_REVALIDATE: '0' } })
  using first = new ImageClient({ url: server.url, signal })
  await first.pull(image)
  if (contender === dockerRegistry) await sleep(2000)
  await die(hub, manner)
  const diedAt = performance.now()
  const pulls: Promise<Answer[]>[] = []
  for (let at = 0; at < pullsForMs; at += pullEveryMs) {
    await sleep(Math.max(0, diedAt + at - performance.now()), undefined, { signal })
    pulls.push(pullTimed(server.url, image, diedAt))
  }
  return (await Promise.all(pulls)).flat()
}

async function die(hub: HubProcess, manner: Manner): Promise<void> {
  if (manner === 'refusing') await hub.cutLine()
  else await hub.silenceLine()
}

/** The manifest by its tag, the config, and the layers, over one connection, until one of them does not come. */
async function pullTimed(
  url: string,
  { repository, tag, config, layers }: ImageSummary,
  diedAt: number,
): Promise<Answer[]> {
  const paths = [`manifests/${tag}`, ...[config, ...layers].map(({ digest }) => `blobs/${digest}`)]
  const answers: Answer[] = []
  using connection = await ClientConnection.open(url)
  for (const path of paths) {
    const askedAt = performance.now() - diedAt
    const leave = setTimeout(() => connection[Symbol.dispose](), longestMs)
    const received = await connection.get(`/v2/${repository}/${path}`, { headers: manifestHeaders })
    clearTimeout(leave)
    const isRight = received.status === 200 && received.isComplete
    answers.push({ askedAt, firstByteMs: isRight ? received.firstByteMs : Number.POSITIVE_INFINITY })
    if (!connection.isOpen) break
  }
  return answers
}

function percentile(share: number, answers: readonly Answer[]): number {
  const sorted = answers.map(({ firstByteMs }) => firstByteMs).toSorted((one, other) => one - other)
  return sorted[Math.ceil((sorted.length * share) / 100) - 1] ?? Number.POSITIVE_INFINITY
}

function showWait(ms: number): string {
  return Number.isFinite(ms) ? showMilliseconds(ms) : `none in ${longestMs / 1000} s`
}
