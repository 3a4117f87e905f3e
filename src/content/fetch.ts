import { abortable } from '../flow/abortable.ts'
import { RegistryError } from '../oci/error.ts'
import { UpstreamError } from '../upstream/error.ts'
import { Crew, type CrewOptions } from './crew.ts'
import { isMissing } from './fetch-plan.ts'
import type { Ramp } from './ramp.ts'
import { Doubt, Unsized } from './size.ts'
import type { Way, Ways } from './ways.ts'

export interface FetchOptions extends CrewOptions {
  readonly ways: Ways
  /** How many connections help, by the name of an upstream. */
  readonly rampOf: (upstream: string) => Ramp
  /** Milliseconds without a byte after which a way is left for a better one. */
  readonly slowMs: number
  /** Waits before there is a place on the line again: who has one brings bytes, or lets others do. */
  readonly pause: () => Promise<void>
  /** Nothing more is to be brought for now. */
  readonly onIdle: () => void
  /** Whether a source has told the size. */
  readonly isTold: () => boolean
}

/** Brings what is missing of a blob, by one way after the other, until nothing is that is to be brought. */
export class Fetch {
  readonly #options: FetchOptions
  #underWay: { readonly crew: Crew; readonly way: Way } | undefined

  constructor(options: FetchOptions) {
    this.#options = options
  }

  /**
   * Resolves when all of it is here; with a way that says that there is no more, and never told how much there is. Throws what
   * the last way failed with, RegistryError where bytes are wrong, Contradiction, StorageError, or the signal's reason.
   */
  async run(): Promise<Way | undefined> {
    const { ways, changes, pause, onIdle, rampOf, signal } = this.#options
    while (this.#isIncomplete) {
      await abortable(pause(), signal)
      if (!isMissing(this.#options.site())) onIdle()
      await changes.until(() => isMissing(this.#options.site()) || !this.#isIncomplete || undefined, signal)
      if (!this.#isIncomplete) break
      const way = await ways.next(changes, signal)
      const before = this.#presentBytes
      const crew = new Crew(way, rampOf(way.source.name), this.#options)
      this.#underWay = { crew, way }
      try {
        const ending = await crew.run()
        way.failures = 0
        if (ending === 'end') return undefined
      } catch (error) {
        if (signal.aborted || error instanceof RegistryError) throw error
        if (this.#isAtEnd(error)) return way
        if (error instanceof Doubt) ways.doubt(way)
        else if (error instanceof Unsized) ways.giveUp(way, error)
        else if (error instanceof UpstreamError) ways.blame(way, error, this.#presentBytes - before)
        else throw error
      } finally {
        this.#underWay = undefined
      }
    }
    return undefined
  }

  /** Leaves the way that is taken, where nothing has come by it for too long and another one promises more. */
  leaveIfSlow(): void {
    const { slowMs, ways } = this.#options
    if (!this.#underWay) return
    const { crew, way } = this.#underWay
    const isSlow = !crew.isLeft && crew.silentMs >= slowMs
    if (!isSlow || !ways.hasBetterThan(way, { elsewhere: crew.isQueued })) return
    way.doubts += 1
    crew.leave()
  }

  /** Leaves the way that is taken for a better one. */
  leave(): void {
    this.#underWay?.crew.leave()
  }

  get #presentBytes(): number {
    return this.#options.site().present.total
  }

  /** Whether some of it is not here, wanted or not. */
  get #isIncomplete(): boolean {
    return isMissing({ ...this.#options.site(), bringsAll: true })
  }

  /** It says that there is nothing behind what is here, and never told how much there is. */
  #isAtEnd(error: unknown): boolean {
    const { size: claim, present } = this.#options.site()
    const isRefused = error instanceof UpstreamError && error.status === 416 && !this.#options.isTold()
    return isRefused && (claim === undefined ? present.presentUntil(0) : present.total) > 0
  }
}
