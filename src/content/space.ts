import type { Logger } from 'pino'
import { Occasionally } from '../flow/occasionally.ts'
import type { DiskRoom, Partials } from '../storage/blob-store.ts'
import { type Lack, type Need, type Purpose, Reservation } from './reservation.ts'
import { RestingPartials } from './resting-partials.ts'
import { WaitingForRoom } from './waiting-for-room.ts'

/** What mirrored content may have of the disk, in bytes. */
export interface SpaceLimits {
  /** For all of it (`cache.maxSize`). */
  readonly maxBytes: number
  /** What it leaves free on the disk (`cache.minFree`). */
  readonly minFreeBytes: number
}

export interface SpaceOptions {
  readonly limits: SpaceLimits
  readonly disk: () => Promise<DiskRoom>
  readonly partials: Pick<Partials, 'find' | 'list' | 'remove'>
  /** Bytes that are stored and may be evicted, whole or damaged. */
  readonly cachedBytes: () => Promise<number>
  /** Bytes in files of which nothing is recorded: not yet, or no more, or since no catalog can be read. */
  readonly unrecordedBytes?: () => Promise<number>
  /** Somebody waits for room: `demand` says how much, and `freed` or `nothingLeft` is to be called. */
  readonly onWait: () => void
  /** Milliseconds without any progress after which nobody waits for room any longer. */
  readonly patienceMs: number
  readonly logger: Logger
}

/** What should be evicted. */
export interface Demand extends Lack {
  /** Which bound is passed, or would be. */
  readonly why: 'maxSize' | 'minFree' | 'files'
  /** Somebody waits for it. */
  readonly isAwaited: boolean
  /** A limit is passed, or somebody waits: else it is to have some room ready. */
  readonly isUrgent: boolean
}

interface Figures {
  readonly cached: number
  readonly unrecorded: number
  readonly room: DiskRoom
  /** Bytes that were granted and not written when the disk was looked at. */
  readonly missing: number
}

/** `freeing`: bytes that have to go in any case. */
interface Request {
  readonly reservation: Reservation
  readonly end: number
  readonly freeing?: number
}

const nothing: Need = { purpose: 'fill', bytes: 0, files: 0 }
/** Bytes at most that are kept ready, so that few blobs wait for an eviction. */
const largestMargin = 1024 ** 3
/** Bytes that are made free at a time: few enough to be waited for, and enough to ask the disk seldom. */
const largestStep = 16 * 1024 ** 2
const smallestStep = 256 * 1024
/** Bytes: a disk that has no room for them has none for blobs. */
const nextToNothing = 1024 * 1024
/** A disk that does not tell is tried. */
const endless: DiskRoom = { bytes: Number.POSITIVE_INFINITY, files: { free: 0, total: 0 } }
/** Files that are left to the catalog and to what pushes make, at most. */
const largestFileMargin = 1024

/**
 * The one that knows whether there is room for what comes in. Whatever it is has a reservation before its first byte, so
 * that fills that run at a time stay below the limits together.
 */
export class Space {
  readonly limits: SpaceLimits
  readonly resting: RestingPartials
  readonly #options: SpaceOptions
  readonly #reservations = new Set<Reservation>()
  readonly #waiting: WaitingForRoom<Request>
  readonly #telling = new Occasionally()
  #leaving = 0

  constructor(options: SpaceOptions) {
    this.#options = options
    this.limits = options.limits
    this.resting = new RestingPartials(options.partials)
    this.#waiting = new WaitingForRoom({
      needOf: (request) => this.#needOf(request),
      grant: ({ reservation, end }) => reservation.granted(end),
      patienceMs: options.patienceMs,
    })
  }

  /** For a blob that comes in. `present`: bytes of it that are on the disk; `partials`: what they may lie in already. */
  reserve(purpose: Purpose, present: () => number, partials: readonly string[] = []): Reservation {
    const freed = Math.max(smallestStep, Math.min(this.limits.maxBytes / 256, largestStep))
    const reservation = new Reservation(purpose, partials, {
      steps: { first: largestStep, ahead: largestStep, freed },
      present,
      resting: () => partials.reduce((bytes, id) => bytes + this.resting.bytesOf(id), 0),
      ready: async () => void (await Promise.all(partials.map((id) => this.resting.removed(id)))),
      admits: (...asked) => this.#admits(...asked),
      tryGrant: (of, end) => this.#tryGrant(of, end),
      grant: async (of, end, signal) => {
        if (await this.#tryGrant(of, end)) return true
        signal?.throwIfAborted()
        return this.#wait({ reservation: of, end }, signal)
      },
      free: (of, bytes, signal) => this.#wait({ reservation: of, end: 0, freeing: bytes }, signal),
      onRefused: (of, bytes) => this.#refused(of, bytes),
      onDispose: () => this.#reservations.delete(reservation),
    })
    this.#reservations.add(reservation)
    return reservation
  }

  /** The names of the partials that bytes come into, or will. */
  get partials(): ReadonlySet<string> {
    return new Set([...this.#reservations].flatMap(({ partials }) => partials))
  }

  /** Bytes that the limit counts: stored and not kept for ever, on their way in, and left by fills. Throws StorageError. */
  async countedBytes(): Promise<number> {
    return this.#counted(await this.#figures())
  }

  /** What has to go: for whoever waits first, else down to the low-water mark; undefined: nothing. Throws StorageError. */
  async demand(): Promise<Demand | undefined> {
    const figures = await this.#figures()
    let why = this.#why(figures, nothing)
    const awaited = this.#waiting.first((request) => {
      const need = this.#needOf(request)
      why = this.#why(figures, need)
      // What the disk has refused it lacks, whatever the figures say.
      return request.freeing === undefined ? this.#lack(figures, need) : need
    })
    if (awaited) return { ...awaited, why, isAwaited: true, isUrgent: true }
    const { maxBytes, minFreeBytes } = this.limits
    const low = { maxBytes: maxBytes - margin(maxBytes), minFreeBytes: minFreeBytes + margin(minFreeBytes) }
    const lack = this.#lack(figures, nothing, low)
    if (!isShort(lack)) return undefined
    const isUrgent = isShort(this.#lack(figures, nothing))
    return { ...lack, why: this.#why(figures, nothing, low), isAwaited: false, isUrgent }
  }

  /** Whether next to nothing can be written any more, all that may be evicted gone. Throws StorageError. */
  async isFull(): Promise<boolean> {
    const figures = await this.#figures()
    const lack = this.#lack(figures, { purpose: 'push', bytes: nextToNothing, files: 1 })
    return lack.bytes > figures.cached + this.resting.bytesBeside(this.partials)
  }

  /** So many bytes that are counted are about to go, by `work`: they count until it has ended. */
  async leaving<Value>(bytes: number, work: () => Promise<Value>): Promise<Value> {
    this.#leaving += bytes
    try {
      return await work()
    } finally {
      this.#leaving -= bytes
    }
  }

  /** So much has gone for whoever waits. */
  freed(freed: Lack): void {
    this.#waiting.freed(freed)
  }

  /** Nothing more can go: who waits gets no room. */
  nothingLeft(): void {
    this.#waiting.giveUp()
  }

  /** All that could be evicted counts as room: whether it has to go is found out as bytes come. */
  async #admits(asking: Reservation, bytes: number): Promise<boolean> {
    const { maxBytes, minFreeBytes } = this.limits
    const { cached, room } = await this.#figures()
    let [fills, missing] = [0, 0]
    for (const other of this.#reservations) {
      if (other === asking) continue
      if (other.purpose === 'fill') fills += other.promised
      missing += other.promised - other.onDisk
    }
    const isMirrored = asking.purpose === 'fill'
    if (isMirrored && fills + bytes > maxBytes) return false
    const evictable = cached + this.resting.bytesBeside(this.partials)
    const left = isMirrored ? minFreeBytes : 0
    return bytes - asking.onDisk + missing + left <= room.bytes + evictable
  }

  async #tryGrant(reservation: Reservation, end: number): Promise<boolean> {
    const figures = await this.#figures()
    // Guards against this order: (1) one waits for room. (2) Some is made. (3) Another one comes, and takes it.
    if (!this.#waiting.isEmpty || isShort(this.#lack(figures, reservation.needUntil(end)))) return false
    reservation.granted(end)
    return true
  }

  /** Who pushes is told, and who pulls has its bytes all the same. */
  #refused(reservation: Reservation, bytes: number): void {
    if (reservation.purpose === 'push') return
    this.#telling.do('', async () => {
      const figures = await this.#figures().catch(() => undefined)
      const why = figures && this.#why(figures, reservation.needUntil(bytes))
      const message = 'there is no room for what is fetched: it is handed through, and not kept'
      this.#options.logger.warn({ why, bytes }, message)
    })
  }

  #wait(request: Request, signal: AbortSignal | undefined): Promise<boolean> {
    const waiting = this.#waiting.wait(request, signal)
    this.#options.onWait()
    return waiting
  }

  #needOf({ reservation, end, freeing }: Request): Need {
    if (freeing === undefined) return reservation.needUntil(end)
    return { purpose: reservation.purpose, bytes: freeing, files: 0 }
  }

  async #figures(): Promise<Figures> {
    await this.resting.known()
    const { cachedBytes, unrecordedBytes, disk } = this.#options
    const missing = this.#missing()
    const room = await disk().catch(() => endless)
    // Guards against this order: (1) what is stored is looked at. (2) A fill is stored, and gives its room back. (3) The
    // disk has told: its bytes would be counted by neither.
    return { cached: await cachedBytes(), unrecorded: (await unrecordedBytes?.()) ?? 0, room, missing }
  }

  #missing(): number {
    let bytes = 0
    for (const reservation of this.#reservations) bytes += reservation.missing
    return bytes
  }

  #counted({ cached, unrecorded }: Figures): number {
    let moving = this.#leaving
    for (const one of this.#reservations) if (one.purpose === 'fill') moving += one.counted
    // What is on its way in or out may be among those files.
    return cached + Math.max(moving, unrecorded) + this.resting.bytesBeside(this.partials)
  }

  #lack(figures: Figures, need: Need, limits = this.limits): Lack {
    const { ofLimit, ofDisk, ofFiles } = this.#shortages(figures, need, limits)
    return { bytes: Math.max(0, ofLimit, ofDisk), files: Math.max(0, ofFiles) }
  }

  /** Which bound is passed most. */
  #why(figures: Figures, need: Need, limits = this.limits): Demand['why'] {
    const { ofLimit, ofDisk, ofFiles } = this.#shortages(figures, need, limits)
    if (ofFiles > 0) return 'files'
    return ofLimit > ofDisk ? 'maxSize' : 'minFree'
  }

  #shortages(figures: Figures, { purpose, bytes, files }: Need, { maxBytes, minFreeBytes }: SpaceLimits) {
    const { room } = figures
    const isMirrored = purpose === 'fill'
    const missing = Math.max(figures.missing, this.#missing())
    return {
      ofLimit: isMirrored ? this.#counted(figures) + bytes - maxBytes : 0,
      ofDisk: bytes + missing + (isMirrored ? minFreeBytes : 0) - room.bytes,
      ofFiles: room.files.total > 0 ? files + this.#missingFiles(room) - room.files.free : 0,
    }
  }

  #missingFiles({ files }: DiskRoom): number {
    let missing = Math.min(largestFileMargin, Math.ceil(files.total / 16))
    for (const reservation of this.#reservations) missing += reservation.missingFiles
    return missing
  }
}

function isShort({ bytes, files }: Lack): boolean {
  return bytes > 0 || files > 0
}

function margin(bytes: number): number {
  return Math.min(bytes / 20, largestMargin)
}
