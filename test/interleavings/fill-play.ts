import pino from 'pino'
import { Blobs } from '../../src/content/blobs.ts'
import { Pieces } from '../../src/flow/pieces.ts'
import { Slots } from '../../src/flow/slots.ts'
import { RegistryError } from '../../src/oci/error.ts'
import type { BlobWriter } from '../../src/storage/blob-writer.ts'
import { StorageError } from '../../src/storage/error.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { UpstreamError } from '../../src/upstream/error.ts'
import { alpine, app, repositoryOf } from '../storage/catalog-fixtures.ts'
import type { Loss } from './search.ts'
import { Stage, settled, type Turns } from './turns.ts'
import { type Answer, isLie, Upstream } from './upstream.ts'
import { type Layer, layerOf, stepped } from './world.ts'

/** Bytes. One is verified before its first byte is given, and is kept in memory; the other one is not. */
const sizes = { small: 1000, large: 100_000 }
/** Bytes that an upstream sends at a time. */
const pieces = { small: 300, large: 20_000 }
/** Bytes that a client reads at a time. */
const readSize = 30_000
/** Milliseconds after which whoever still waits waits for ever. */
const enoughMs = 20 * 60_000

/** Who asks, and how long it stays. */
export interface Client {
  /** By which upstream it comes. */
  readonly way: 0 | 1
  /** What its descriptor says of the size, in bytes more than it has; undefined: nothing. */
  readonly claim: number | undefined
  /** It leaves after so many steps of anybody; undefined: it stays to the end. */
  readonly leavesAfter: number | undefined
}

export interface Play {
  readonly size: keyof typeof sizes
  readonly answers: readonly [readonly Answer[], readonly Answer[]]
  readonly clients: readonly Client[]
  readonly pushes: boolean
  readonly evicts: boolean
  /** The program is stopped in the middle. */
  readonly stops: boolean
  /** Bytes of its disk; undefined: enough. */
  readonly room: number | undefined
  /** Before which step of the disk it fails; undefined: it does not. */
  readonly failsAt: number | undefined
  /** Others who want the line of the first upstream, on which there is one place. */
  readonly rivals: readonly Rival[]
}

interface Rival {
  /** Whether somebody waits for what it brings, at first and after its first step. */
  readonly isWanted: readonly [boolean, boolean]
  /** Steps for which it has the line, if it is let. */
  readonly steps: number
}

/** What became of a client. */
interface Outcome {
  readonly client: Client
  readonly isWhole: boolean
  readonly error?: unknown
}

/** Plays a fill once, and says what is wrong at its end. `passTime` moves the clock by so many milliseconds. */
export async function playFill(play: Play, turns: Turns, passTime: (ms: number) => void): Promise<Loss> {
  const fill = new FillPlay(play, new Stage(turns))
  await fill.run(passTime)
  await fill.judge(passTime)
  return { problems: fill.problems, schedule: fill.stage.schedule }
}

class FillPlay {
  readonly problems: string[] = []
  readonly stage: Stage
  readonly #play: Play
  readonly #layer: Layer
  readonly #upstreams: readonly [Upstream, Upstream]
  readonly #store: MemoryBlobStore
  readonly #catalog = new MemoryCatalog()
  readonly #blobs: Blobs
  readonly #outcomes: Outcome[] = []
  readonly #line = new Slots({ places: 1, turnMs: 2000, answerMs: 60_000 })
  #diskSteps = 0
  #isOver = false

  constructor(play: Play, stage: Stage) {
    this.#play = play
    this.stage = stage
    this.#layer = layerOf(play.size, sizes[play.size])
    this.#upstreams = [
      this.#upstream(alpine, play.answers[0], this.#line),
      this.#upstream(quay, play.answers[1]),
    ]
    const room = play.room === undefined ? {} : { room: play.room }
    this.#store = new MemoryBlobStore({ ...room, step: (name) => this.#diskStep(name) })
    this.#blobs = blobsOver(this.#store, stepped(this.#catalog, stage))
  }

  async run(passTime: (ms: number) => void): Promise<void> {
    const { clients, pushes, evicts, stops, rivals } = this.#play
    const actors: Record<string, () => Promise<void>> = {}
    for (const [index, client] of clients.entries()) actors[`client ${index}`] = () => this.#follow(client)
    if (pushes) actors.pusher = () => this.#push()
    if (evicts) actors.evictor = () => this.#evict()
    if (stops) actors.stopper = () => this.#stop()
    for (const [index, rival] of rivals.entries()) actors[`rival ${index}`] = () => this.#rival(rival)
    await this.#playAll(actors, passTime)
    this.#isOver = true
    await this.#end(this.#blobs, passTime)
  }

  /** What must hold when all is over. */
  async judge(passTime: (ms: number) => void): Promise<void> {
    const { digest } = this.#layer
    for (const { connections, name } of this.#upstreams) {
      if (connections !== 0) this.problems.push(`${connections} connections to ${name} are left open`)
    }
    const turn = { clients: [], receivingSince: 0, bytes: 0, restingMs: 0, end: () => false }
    let isFree = false
    const taking = this.#line.take(turn).then((place) => {
      isFree = true
      place[Symbol.dispose]()
    })
    await settled()
    if (isFree) await taking
    else this.problems.push('the place on the line was never given back')
    // Throws where a partial was never closed.
    await this.#store[Symbol.asyncDispose]().catch((error: unknown) => this.problems.push(String(error)))
    if ((await this.#catalog.blob(digest)) && !(await this.#store.stat(digest))) {
      this.problems.push('there is a record without bytes')
    }
    this.#judgeTraffic()
    for (const outcome of this.#outcomes) this.#judgeOutcome(outcome)
    await this.#judgeNextProcess(passTime)
  }

  /** Bytes cross the line once, and again only for those who break off, lie, or start anew. */
  #judgeTraffic(): void {
    const { room, failsAt, evicts, clients, size } = this.#play
    const given = this.#upstreams.flatMap((upstream) => upstream.given)
    const sent = this.#upstreams.reduce((sum, upstream) => sum + upstream.sent, 0)
    const isRight = ({ claim }: Client) => claim === 0 || claim === undefined
    const faults = given.filter(({ kind }) => isLie(kind) || kind === 'whole').length
    const wrongClaims = clients.filter((client) => !isRight(client)).length
    const isDiskFine = room === undefined && failsAt === undefined
    const again = faults + wrongClaims + (evicts ? 1 : 0) + (isDiskFine ? 0 : clients.length)
    const slack = pieces[size] * given.length
    if (sent > sizes[size] * (1 + again) + slack) {
      this.problems.push(
        `${sent} bytes crossed the line for ${sizes[size]} (${again} reasons to send them again)`,
      )
    }
  }

  /** Who has a good way gets the bytes, whatever others come with. */
  #judgeOutcome({ client, isWhole, error }: Outcome): void {
    if (isWhole) return
    const { stops, room, failsAt, size, clients } = this.#play
    const isKnown =
      error instanceof UpstreamError || error instanceof RegistryError || error instanceof StorageError
    const hasLeft = client.leavesAfter !== undefined
    if (!isKnown && !hasLeft && !stops) {
      this.problems.push(`a client was told ${error instanceof Error ? error.stack : String(error)}`)
    }
    const isMisled = size === 'large' && this.#hasLied
    const isClaimed = client.claim !== 0 && client.claim !== undefined
    const isDisturbed = clients.some(({ claim }) => claim !== 0 && claim !== undefined)
    const isDiskFine = room === undefined && failsAt === undefined
    if (hasLeft || stops || isMisled || isClaimed || isDisturbed || !isDiskFine) return
    if (this.#upstreams[client.way].isGood) {
      this.problems.push(`a client with a good way did not get the bytes: ${String(error)}`)
    }
  }

  /** A later process, with a disk that works and an upstream that does, gives the right bytes. */
  async #judgeNextProcess(passTime: (ms: number) => void): Promise<void> {
    const store = this.#store.afterCrash({ kind: 'killed', keeps: () => true }, {})
    const blobs = blobsOver(store, this.#catalog)
    const good = this.#upstream(alpine, [{ kind: 'good', pieces: 0 }])
    const client = { way: 0, claim: 0, leavesAfter: undefined } as const
    const follow = { 'a client of the next process': () => this.#follow(client, blobs, good) }
    await this.#playAll(follow, passTime)
    // It goes on with what is here, which may be wrong: then the first one is told so, and nobody else.
    if (this.#hasLied && !this.#outcomes.at(-1)?.isWhole) await this.#playAll(follow, passTime)
    await this.#end(blobs, passTime)
    const last = this.#outcomes.at(-1)
    if (!last?.isWhole)
      this.problems.push(`the next process could not give the bytes: ${String(last?.error)}`)
    // What a stop, a push or a bad disk leaves beside a stored blob is in the list of partials.
    const { stops, pushes, room, failsAt } = this.#play
    if (stops || pushes || room !== undefined || failsAt !== undefined) return
    const left = (await store.partials.list()).map(({ id }) => id)
    if (left.length > 0) this.problems.push(`partials are left over beside the stored blob: ${left}`)
  }

  get #hasLied(): boolean {
    return this.#upstreams.some(({ given }) => given.some(({ kind }) => isLie(kind)))
  }

  async #playAll(actors: Record<string, () => Promise<void>>, passTime: (ms: number) => void): Promise<void> {
    let passed = 0
    let step = 1
    try {
      await this.stage.play(actors, {
        passTime: () => {
          passTime(step)
          passed += step
          step = Math.min(step * 2, 1000)
          return passed < enoughMs
        },
      })
    } catch (error) {
      this.problems.push(String(error))
    }
  }

  async #end(blobs: Blobs, passTime: (ms: number) => void): Promise<void> {
    let isOver = false
    blobs[Symbol.asyncDispose]().then(
      () => {
        isOver = true
      },
      (error: unknown) => this.problems.push(String(error)),
    )
    for (let passed = 0; !isOver && passed < enoughMs; passed += 1000) {
      await settled()
      passTime(1000)
    }
    if (!isOver) this.problems.push('the program does not end')
  }

  async #follow(client: Client, blobs = this.#blobs, upstream = this.#upstreams[client.way]): Promise<void> {
    const { digest, bytes } = this.#layer
    const left = new AbortController()
    const reason = new UpstreamError('UNREACHABLE', 'client', 'it has left')
    if (client.leavesAfter !== undefined) void this.#leave(client.leavesAfter, () => left.abort(reason))
    const size = client.claim === undefined ? undefined : bytes.length + client.claim
    const { signal } = left
    await this.stage.step('asks')
    try {
      const { reader } = await blobs.open(digest, upstream, { size, signal })
      await using opened = reader
      const buffer = Buffer.alloc(opened.size)
      for (let position = 0; position < opened.size; ) {
        await this.stage.step('reads')
        const count = await opened.read(buffer.subarray(position, position + readSize), position, { signal })
        if (count === 0) throw new TypeError(`the end at ${position} of ${opened.size}`)
        position += count
      }
      await opened.verified({ signal })
      if (!buffer.equals(bytes)) this.problems.push('a whole answer has other bytes')
      this.#outcomes.push({ client, isWhole: true })
    } catch (error) {
      this.#outcomes.push({ client, isWhole: false, error })
    }
  }

  async #leave(steps: number, leave: () => void): Promise<void> {
    for (let step = 0; step <= steps; step += 1) await this.stage.step(`stays ${step}`)
    leave()
  }

  async #push(): Promise<void> {
    const { digest, bytes } = this.#layer
    await this.stage.step('begins')
    let writer: BlobWriter | undefined
    try {
      writer = await this.#blobs.openWriter('upload-1', 'sha256')
      await writer.append([bytes])
      await this.#blobs.seal(writer, digest, (file) => this.#catalog.pushed(app, digest, file, Date.now()))
    } catch (error) {
      const isStopped = this.#play.stops && error instanceof RegistryError && error.code === 'UNAVAILABLE'
      if (!isStopped && !(error instanceof StorageError))
        this.problems.push(`a push was told ${String(error)}`)
      await writer?.discard(error as Error).catch(() => {})
    }
  }

  async #evict(): Promise<void> {
    const { digest } = this.#layer
    await this.stage.step('begins')
    try {
      await this.#blobs.remove(digest, () => this.#catalog.evict(digest, Number.MAX_SAFE_INTEGER))
    } catch (error) {
      if (!(error instanceof StorageError)) this.problems.push(`an eviction was told ${String(error)}`)
    }
  }

  async #stop(): Promise<void> {
    for (let step = 0; step < 5; step += 1) await this.stage.step(`works ${step}`)
    await this.#blobs[Symbol.asyncDispose]()
  }

  async #diskStep(name: string): Promise<void> {
    if (this.#isOver) return
    await this.stage.step(`disk: ${name}`)
    this.#diskSteps += 1
    if (this.#diskSteps === this.#play.failsAt) throw new StorageError('BROKEN', 'the disk of a test fails')
  }

  /** Takes the line for some steps, and lets it go when it is told to. */
  async #rival({ isWanted: [atFirst, later], steps }: Rival): Promise<void> {
    const clients = new Set(atFirst ? ['rival'] : [])
    let place: Disposable | undefined
    const turn = {
      clients,
      receivingSince: performance.now(),
      bytes: 1_000_000,
      restingMs: 0,
      end: () => {
        place?.[Symbol.dispose]()
        return true
      },
    }
    await this.stage.step('wants the line')
    const taking = this.#line.take(turn)
    taking.catch(() => {})
    await this.stage.step('changes its mind')
    if (later) clients.add('rival')
    else clients.clear()
    place = await taking
    for (let step = 0; step < steps; step += 1) await this.stage.step(`has the line ${step}`)
    place[Symbol.dispose]()
  }

  #upstream(repository: typeof alpine, answers: readonly Answer[], line?: Slots): Upstream {
    const pieceSize = pieces[this.#play.size]
    return new Upstream(this.stage, { repository, layer: this.#layer, pieceSize, answers, line })
  }
}

const logger = pino({ enabled: false })
const quay = repositoryOf('quay.io', 'library/alpine')

function blobsOver(store: MemoryBlobStore, records: MemoryCatalog | ReturnType<typeof stepped>): Blobs {
  return new Blobs({
    pieces: new Pieces(),
    store,
    records,
    rate: undefined,
    retries: 3,
    patienceMs: 5000,
    logger,
  })
}
