import { setTimeout as sleep } from 'node:timers/promises'
import { type Contender, dockerRegistry } from '../support/contenders.ts'
import type { ImageSummary } from '../support/hub-control.ts'
import { ImageClient } from '../support/image-client.ts'
import { settledTraffic } from '../support/pulls.ts'
import { bytesOf, limitOf } from './limit.ts'
import type { PullRow } from './rows.ts'
import { type LineScene, type LineSetting, openScene } from './setting.ts'
import { type Fetched, timeline } from './timeline.ts'

/** One pull, or several at once: what it took. */
export interface Outcome {
  /** Of the slowest client; infinite where it was given up. */
  readonly seconds: number
  /** Over the line, headers and handshakes too. */
  readonly bytes: number
  /** That were opened over the line. */
  readonly connections: number
}

export interface PullResults {
  readonly row: PullRow
  readonly limitSeconds: number
  /** Bytes of the image. */
  readonly size: number
  /** By contender; of whom goes without a mirror, by `direct`. */
  readonly outcomes: ReadonlyMap<string, readonly Outcome[]>
}

/** What a client gets that has no mirror. */
export const direct = 'direct'
/** After so long a pull by docker-registry is given up: the others take less, and it fetches each blob twice. */
export const givenUpSeconds = 60
/** Milliseconds that a mirror has been up for when it is asked first: nobody starts one for a single pull. */
const restMs = 3000

/** The timeline of one pull by one client through a new Larder. */
export async function tracePull(
  row: PullRow,
  { contenders: [own], ...setting }: LineSetting,
): Promise<string> {
  await using scene = await openScene({ ...row.line, isTraced: true })
  const { hub } = scene
  const image = await addImage(row, scene)
  await using server = await own?.start(hub.url, { ca: scene.ca })
  await sleep(restMs, undefined, { signal: setting.signal })
  const fetched: Fetched[] = []
  const onFetched = (what: string, moments: Fetched['moments']): void => void fetched.push({ what, moments })
  const startedAt = performance.timeOrigin + performance.now()
  using client = new ImageClient({ url: server?.url ?? '', isResuming: row.isResuming ?? false, onFetched })
  await client.pull(image)
  return timeline(await hub.trace(), { startedAt, fetched, line: row.line })
}

/** Measures a row in turn: each time a new server with nothing in it, and clients without a connection. */
export async function measurePulls(row: PullRow, setting: LineSetting): Promise<PullResults> {
  await using scene = await openScene(row.line)
  const image = await addImage(row, scene)
  const outcomes = new Map<string, Outcome[]>()
  const all = [undefined, ...setting.contenders]
  const most = Math.max(...all.map((one) => runsOf(one, row, setting)))
  for (let run = 0; run < most; run += 1) {
    for (const contender of all.filter((one) => run < runsOf(one, row, setting))) {
      const name = contender?.name ?? direct
      setting.signal.throwIfAborted()
      setting.tell(`${row.number}. ${row.label.join('; ')}: ${name}, run ${run + 1}`)
      const outcome = await pull(contender, image, row, scene, setting.signal)
      setting.tell(`   ${outcome.seconds.toFixed(2)} s, ${outcome.connections} connections`)
      outcomes.set(name, [...(outcomes.get(name) ?? []), outcome])
    }
  }
  return { row, limitSeconds: limitOf(image, row.line), size: bytesOf(image), outcomes }
}

function addImage({ number, layerSizes }: PullRow, { hub }: LineScene): Promise<ImageSummary> {
  const named = { repository: 'library/bench', tag: `row-${number}`, seed: `row ${number}` }
  return hub.addImage({ ...named, layerSizes })
}

function runsOf(contender: Contender | undefined, { runs }: PullRow, { runs: asked }: LineSetting): number {
  const { larder, direct: alone, dockerRegistry: other } = runs
  const own = contender === undefined ? alone : contender === dockerRegistry ? other : larder
  return own === 0 ? 0 : (asked ?? own)
}

async function pull(
  contender: Contender | undefined,
  image: ImageSummary,
  { clients, isResuming = false }: PullRow,
  { hub, ca }: LineScene,
  stop: AbortSignal,
): Promise<Outcome> {
  await using server = await contender?.start(hub.url, { ca })
  if (server) await sleep(restMs, undefined, { signal: stop })
  const before = await hub.traffic()
  const startedAt = performance.now()
  const givenUp = contender === dockerRegistry ? AbortSignal.timeout(givenUpSeconds * 1000) : undefined
  const signal = givenUp ? AbortSignal.any([stop, givenUp]) : stop
  const place = server ? { url: server.url } : { url: hub.url, ca: hub.ca }
  const pullOnce = async (): Promise<void> => {
    using client = new ImageClient({ ...place, isResuming, signal })
    await client.pull(image)
  }
  try {
    await Promise.all(Array.from({ length: server ? clients : 1 }, pullOnce))
  } catch (error) {
    if (!givenUp?.aborted) throw error
  }
  const seconds = givenUp?.aborted ? Number.POSITIVE_INFINITY : (performance.now() - startedAt) / 1000
  // What goes on behind the client's back crosses the line as well; docker-registry fetches everything once more.
  const isAwaited = contender !== undefined && contender !== dockerRegistry
  const bytes = isAwaited ? await settledTraffic({ hub }, stop) : (await hub.traffic()).bytes
  return {
    seconds,
    bytes: bytes - before.bytes,
    connections: (await hub.traffic()).connections - before.connections,
  }
}
