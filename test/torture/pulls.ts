import assert from 'node:assert/strict'
import { KeyedLock } from '../../src/flow/keyed-lock.ts'
import { pull } from '../support/client.ts'
import { buildImage, generatedBlob, type TestBlob, type TestImage } from '../support/images.ts'
import { Pauses } from '../support/pauses.ts'
import { type Compared, type ComparedOptions, pullCompared } from './pull-client.ts'
import { type ClientPlan, mayBeWrong, type PullPlan, planOf, refetchable } from './pull-plan.ts'
import type { PullsReport } from './pull-report.ts'
import { openPullWorld, type PullWorld, type Received, stallMs, upstreamName } from './pull-world.ts'
import { Stage } from './stage.ts'

export interface PullsOptions {
  /** Empty. */
  readonly folder: string
  readonly seed: number
  /** Blobs. */
  readonly count: number
  /** Of the first blob, of all that the seed has: one that failed is pulled again alone. */
  readonly first?: number
  /** In place of those that the seed has. */
  readonly plans?: readonly PullPlan[]
  /** Bytes that the cache may have: `ample` for all that is pulled at a time, so that no byte may cross the line twice. */
  readonly cache: keyof typeof caches
  /** Is told how many were pulled. */
  readonly onRound?: (done: number) => void
}

const mebibyte = 1024 * 1024
const caches = {
  ample: { cacheBytes: 400 * mebibyte, letGoMs: 300_000 },
  tight: { cacheBytes: 24 * mebibyte, letGoMs: 2000 },
} as const
const repository = 'library/app'
const blobsAtOnce = 5
const enoughProblems = 5
const mostTries = 8
/** Bytes of a body that Larder reads itself. */
const leastDiverted = 64 * 1024
/** Milliseconds for which a connection is kept at most after an answer with bytes behind its end. */
const surplusMs = 5000
/** Bytes of an answer that is given up before its first byte: what the buffers of two sockets hold. */
const heldBySockets = 1024 * 1024
/** Bytes that a connection may be bringing while another one takes over from it. */
const onItsWay = 256 * 1024
/** What is said of an upstream that was silent for as long as it may be. */
const givenUp = new RegExp(` within ${stallMs / 1000} s`)

/**
 * Pulls blobs of all sizes through a Larder whose upstream breaks off, stalls and lies, with clients that leave, pause, ask
 * for ranges and come late. Each byte that comes is compared.
 */
export async function torturedByPulls(options: PullsOptions): Promise<PullsReport> {
  const { folder, seed, count, first = 0, plans, cache, onRound } = options
  await using world = await openPullWorld(folder, caches[cache])
  using pulls = new Pulls(world, cache === 'ample')
  const startedAt = performance.now()
  let next = first
  const worker = async (): Promise<void> => {
    while (next < first + count && pulls.problems.length < enoughProblems) {
      const index = next
      next += 1
      const [plan, name] = [plans?.[index] ?? planOf(seed, index), `pull ${index} of seed ${seed}`]
      await pulls.play(plan, name).catch((error: unknown) => {
        pulls.problems.push(`${name}: ${error} (${describe(plan)})`)
      })
      onRound?.(next - first)
    }
  }
  await Promise.all(Array.from({ length: blobsAtOnce }, worker))
  const ms = performance.now() - startedAt
  const { larder } = world
  await larder.settled().catch((error: unknown) => pulls.problems.push(String(error)))
  const [evicted, residentBytes, buffers] = await Promise.all(
    ['larder_evicted_blobs_total', 'process_resident_memory_bytes', 'larder_transfer_buffers_bytes'].map(
      larder.metric,
    ),
  )
  const problems = [...pulls.problems, ...(cache === 'ample' ? pulls.crossedAgain(world.received()) : [])]
  if (buffers) problems.push(`${buffers} bytes of buffers are in use`)
  const left = await world.left()
  if (left.length > 0) problems.push(`left over: ${left}`)
  const code = await larder.stop()
  if (code !== 0) problems.push(`it ended with ${code}: ${larder.stderr}`)
  const { bytes, clients, faults, late } = pulls
  return {
    problems,
    ms,
    bytes,
    clients,
    faults,
    late,
    evicted: evicted ?? 0,
    residentBytes: residentBytes ?? 0,
  }
}

class Pulls implements Disposable {
  readonly problems: string[] = []
  readonly bytes = { unique: 0, upstream: 0, delivered: 0 }
  readonly clients = { whole: 0, ranges: 0, left: 0, cut: 0, wrong: 0 }
  readonly faults: Record<string, number> = {}
  /** Given up by Larder, or maybe, since the process that the upstream is in had paused. */
  readonly late = { manifests: 0, blobs: 0 }
  readonly #pauses = new Pauses()
  readonly #world: PullWorld
  readonly #isAmple: boolean
  /** Of each line, until when a connection that is kept may hold bytes that were sent behind a body, of `performance.now()`. */
  readonly #surplusUntil = new Map<PullPlan['line'], number>()
  /** What may come of each blob, and by which pulls, in words. */
  readonly #allowed = new Map<string, { bytes: number; names: string[]; hasPaused: boolean }>()
  /** A byte has 256 contents: pulls of the same one come one after the other, each judged by what it did. */
  readonly #apart = new KeyedLock<string>()

  constructor(world: PullWorld, isAmple: boolean) {
    this.#world = world
    this.#isAmple = isAmple
  }

  [Symbol.dispose](): void {
    this.#pauses[Symbol.dispose]()
  }

  async play(plan: PullPlan, name: string): Promise<void> {
    const blob = await generatedBlob(plan)
    await this.#apart.run(blob.digest, () => this.#play(plan, name, blob))
  }

  async #play(plan: PullPlan, name: string, blob: TestBlob): Promise<void> {
    const { hub } = this.#world
    if (leavesSurplus(plan)) this.#surplusUntil.set(plan.line, Number.POSITIVE_INFINITY)
    const [startedAt, sentBefore] = [performance.now(), hub.bytesSent(blob.digest)]
    const image = buildImage({ layers: [blob], seed: plan.seed })
    using ending = new DisposableStack()
    ending.defer(() => {
      for (const { digest } of [blob, image.config, image.manifest]) hub.remove(repository, digest)
    })
    hub.addImage(repository, undefined, image)
    if (plan.hasManifest) await this.#pullManifest(plan, image)
    const matcher = { digest: blob.digest, method: 'GET' }
    const { isChunked, bytesPerSecond } = plan
    if (isChunked) ending.use(hub.fault(matcher, { contentLength: 'none' }))
    if (bytesPerSecond !== undefined) ending.use(hub.fault(matcher, { bytesPerSecond }))
    const faults = plan.faults.map(({ fault }) => fault)
    const handle = faults.length > 0 ? ending.use(hub.fault(matcher, faults)) : undefined
    const stage = new Stage(plan.clients.length)
    const told = await Promise.all(
      plan.clients.map((client) => this.#playClient(client, { plan, blob, stage })),
    )
    // Whatever became of the others, it can be had.
    const last = { kind: 'whole', joinsAt: 0 } as const
    told.push(await this.#playClient(last, { plan, blob, stage: new Stage(1) }))
    for (const problem of told.flat()) this.problems.push(`${name}: ${problem} (${describe(plan)})`)
    for (const { kind } of plan.faults.slice(0, handle?.hits ?? 0))
      this.faults[kind] = (this.faults[kind] ?? 0) + 1
    const sent = hub.bytesSent(blob.digest) - sentBefore
    this.bytes.unique += blob.size
    this.bytes.upstream += sent
    if (leavesSurplus(plan)) this.#surplusUntil.set(plan.line, performance.now() + surplusMs)
    // Such bytes are read as the answer to the next question on that connection, which is asked again.
    const isBehindSurplus = (this.#surplusUntil.get(plan.line) ?? 0) > startedAt
    const most = blob.size + refetchable(plan) + (isBehindSurplus ? Math.min(blob.size, heldBySockets) : 0)
    const before = this.#allowed.get(blob.digest) ?? { bytes: 0, names: [], hasPaused: false }
    this.#allowed.set(blob.digest, {
      bytes: before.bytes + most,
      names: [...before.names, `${name} (${describe(plan)})`],
      hasPaused: before.hasPaused || this.#hasPaused(startedAt),
    })
  }

  /** Blobs of which more came than may. */
  crossedAgain(received: ReadonlyMap<string, Received>): string[] {
    return [...this.#allowed].flatMap(([digest, { bytes, names, hasPaused }]) => {
      const { bytes: came = 0, answers = 1 } = received.get(digest) ?? {}
      const most = bytes + (answers - 1) * onItsWay
      if (came <= most) return []
      // What the line holds of a connection that was given up meanwhile comes again.
      if (hasPaused) this.late.blobs += 1
      return hasPaused ? [] : [`${names.join(', ')}: ${came} bytes crossed the line, of at most ${most}`]
    })
  }

  /** Whether Larder may have had to take an upstream for silent since then. */
  #hasPaused(since: number): boolean {
    return this.#pauses.longestSince(since) > stallMs / 2
  }

  #url({ line }: PullPlan, path: string): string {
    return `${this.#world.larder.url}/v2/${repository}/${path}?ns=${upstreamName(line)}`
  }

  async #pullManifest(plan: PullPlan, { manifest }: TestImage): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      const askedAt = performance.now()
      const { status, text } = await pull(this.#url(plan, `manifests/${manifest.digest}`))
      if (status === 200) return
      const isRight = givenUp.test(text) && this.#hasPaused(askedAt)
      assert.ok(isRight && tries < mostTries, `${status}, ${text}`)
      this.late.manifests += 1
    }
  }

  async #playClient(client: ClientPlan, { plan, blob, stage }: Play): Promise<string[]> {
    const url = this.#url(plan, `blobs/${blob.digest}`)
    await stage.enter(client.joinsAt)
    try {
      for (let tries = 0; tries < mostTries; tries += 1) {
        const compared = await pullCompared(url, { blob, ...behaviorOf(client, stage, tries === 0) })
        this.bytes.delivered += compared.received
        if (compared.hasLeft) this.clients.left += 1
        const problem = problemOf(compared, client, blob)
        // A part that does not reach the end is given before the digest is known (decision 0059).
        const isJudged = compared.isComplete && !isInside(client, blob)
        if (compared.wrong !== undefined && compared.isComplete) this.clients.wrong += 1
        if (compared.wrong !== undefined && (isJudged || !mayBeWrong(plan)))
          return [`WRONG BYTES for a client (${JSON.stringify(client)}): ${compared.wrong}`]
        if (!problem) {
          if (compared.isComplete) this.clients[client.kind === 'range' ? 'ranges' : 'whole'] += 1
          return []
        }
        if (compared.isComplete && compared.status < 300) return [problem]
        if (this.#isAmple && !mayBeWrong(plan)) return [problem]
        this.clients.cut += 1
      }
      return [`not served in ${mostTries} tries: ${JSON.stringify(client)}`]
    } finally {
      stage.leave()
    }
  }
}

interface Play {
  readonly plan: PullPlan
  readonly blob: TestBlob
  readonly stage: Stage
}

function behaviorOf(client: ClientPlan, stage: Stage, isFirst: boolean): Omit<ComparedOptions, 'blob'> {
  const start = client.kind === 'range' ? client.start : 0
  let hasPaused = client.kind !== 'whole' || client.waitsAt === undefined || !isFirst
  const waitsAt = client.kind === 'whole' ? (client.waitsAt ?? 0) : 0
  return {
    ...(client.kind === 'range' && { range: client }),
    ...(client.kind === 'leaving' && { leavesAt: client.leavesAt }),
    onBytes: (received) => {
      stage.reached(start + received)
      if (hasPaused || received < waitsAt) return undefined
      hasPaused = true
      return stage.pause()
    },
  }
}

/** Whether a client wants a part that does not have the last byte. */
function isInside(client: ClientPlan, { size }: TestBlob): boolean {
  return client.kind === 'range' && client.end < size - 1
}

/** What is wrong with an answer; undefined: nothing, or its client has left. */
function problemOf(compared: Compared, client: ClientPlan, blob: TestBlob): string | undefined {
  const { status, received, isComplete, hasLeft, digest } = compared
  if (hasLeft) return undefined
  const [expected, size] = client.kind === 'range' ? [206, client.end - client.start + 1] : [200, blob.size]
  const isRight = client.kind === 'range' || digest === blob.digest
  if (status === expected && isComplete && received === size && isRight) return undefined
  const end = isComplete ? 'whole' : 'cut'
  return `${status}, ${received} of ${size} bytes, ${end}, for ${JSON.stringify(client)}`
}

function describe({ size, isChunked, line, faults }: PullPlan): string {
  const wrong = faults.map(({ fault }) => JSON.stringify(fault)).join(' ')
  return `${size} bytes, ${line}${isChunked ? ', chunked' : ''} ${wrong}`
}

/** Whether Node reads bytes behind the end of a body; what Larder reads itself it holds against the body's length. */
function leavesSurplus({ faults, line, isChunked, size }: PullPlan): boolean {
  return (
    faults.some(({ kind }) => kind === 'long') && (line === 'tunnel' || isChunked || size < leastDiverted)
  )
}
