import { ClientSlots, type TakeOptions } from '../flow/client-slots.ts'
import { tooManyRequests } from '../oci/error.ts'
import type { Fill } from './fill.ts'

export interface RunningFillsOptions {
  /** Fills that one client may have begun and that have not ended (`limits.perClient.fills`). */
  readonly clientFills?: number
  /** Fills that go on although nobody waits for them. */
  readonly abandonedFills?: number
  /** Milliseconds for which one more than that of a client waits. */
  readonly patienceMs: number
}

/** What a few machines that pull several images at a time leave behind. */
const defaultAbandonedFills = 64
const unbounded: Disposable = { [Symbol.dispose]: () => {} }

/** All fills that have not ended, and how many of them there may be. */
export class RunningFills {
  readonly #options: RunningFillsOptions
  readonly #clients: ClientSlots
  readonly #running = new Map<Fill, Disposable>()

  constructor(options: RunningFillsOptions) {
    const { clientFills: perClient = Number.POSITIVE_INFINITY, patienceMs } = options
    this.#options = options
    this.#clients = new ClientSlots({ perClient, patienceMs })
  }

  get count(): number {
    return this.#running.size
  }

  /** Clients that had to wait before one more was begun for them, and those among them for whom none was. */
  get counts(): { readonly waited: number; readonly refused: number } {
    return this.#clients.counts
  }

  /** A place for a fill that is begun for a client, or for the mirror itself; undefined where it has to be waited for. */
  tryPlace(client: string | undefined): Disposable | undefined {
    return client === undefined ? unbounded : this.#clients.tryTake(client)
  }

  /**
   * Waits until another fill of the client ends: one that hears 429 tries again at once (containerd), or goes elsewhere
   * (Docker). Throws RegistryError TOOMANYREQUESTS after some seconds, or the signal's reason.
   */
  async placeOf(client: string | undefined, options: TakeOptions): Promise<Disposable> {
    const place = client === undefined ? unbounded : await this.#clients.take(client, options)
    if (place) return place
    const message =
      'as many downloads that this address has begun are under way as may be at a time (limits.perClient.fills): try again when some have ended; where many machines share the address, raise that in mirror.yml'
    throw tooManyRequests(message)
  }

  /** It has `place` until it ends. */
  add(fill: Fill, place: Disposable): void {
    this.#running.set(fill, place)
  }

  ended(fill: Fill): void {
    this.#running.get(fill)?.[Symbol.dispose]()
    this.#running.delete(fill)
  }

  /** Bytes that all others, or all, still have to bring, as far as is known. */
  missingBytesBeside(fill?: Fill): number {
    let bytes = 0
    for (const other of this.#running.keys()) if (other !== fill) bytes += other.missingBytes
    return bytes
  }

  /** Somebody has left one. What was left longest ago ends where that is one too many; what came of it is kept. */
  boundAbandoned(): void {
    const { abandonedFills = defaultAbandonedFills } = this.#options
    const abandoned = [...this.#running.keys()].flatMap((fill) => {
      const since = fill.abandonedSince
      return since === undefined ? [] : [{ fill, since }]
    })
    if (abandoned.length <= abandonedFills) return
    const oldest = abandoned.reduce((one, other) => (other.since < one.since ? other : one))
    void oldest.fill.stop(
      new Error('too much else is fetched that nobody waits for: what came of it is kept'),
    )
  }

  /** Ends all of them; what was fetched is kept. */
  async stop(reason: Error): Promise<void> {
    await Promise.all([...this.#running.keys()].map((fill) => fill.stop(reason)))
  }
}
