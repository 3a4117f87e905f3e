import { abortable } from '../flow/abortable.ts'
import type { Share, Shares } from '../flow/shares.ts'
import { tooManyRequests } from '../oci/error.ts'

/** Bytes that have to come while a turn lasts, or nothing has. */
const someBytes = 16 * 1024

export interface WritingTurnOptions {
  readonly client: string
  readonly signal: AbortSignal
  /** Aborts when nothing is read any more, whatever the client may still send. */
  readonly stopped: AbortSignal
  /** Called before the turn is given back: the file of the upload is to be closed, for a while. */
  readonly pause: () => Promise<void>
}

/**
 * A turn of an upload that is written to. While its client sends next to nothing, and others wait, they have it: the file is
 * closed, and what comes next is read when it is this one's turn again. Dispose when nothing is written any more.
 */
export class WritingTurn implements Disposable {
  readonly #turns: Shares
  #share: Share | undefined
  #isOver = false

  private constructor(turns: Shares, share: Share) {
    this.#turns = turns
    this.#share = share
  }

  /** Rejects with RegistryError TOOMANYREQUESTS (429) where it does not come in time, and with the reason of `signal`. */
  static async take(turns: Shares, client: string, signal: AbortSignal): Promise<WritingTurn> {
    const share = await turns.take(client, 1, { signal })
    if (share) return new WritingTurn(turns, share)
    const message = 'as many uploads are being written as may be at a time: try again'
    throw tooManyRequests(message)
  }

  /** The pieces of a body, each in its turn. */
  async *during(body: AsyncIterable<Uint8Array>, options: WritingTurnOptions): AsyncGenerator<Uint8Array> {
    const iterator = body[Symbol.asyncIterator]()
    let received = 0
    try {
      for (;;) {
        const next = iterator.next()
        await this.#givingWay(next, options)
        const { done, value } = await abortable(next, options.stopped)
        await this.#takeAgain(options)
        if (done) return
        received += value.length
        if (received >= someBytes) {
          this.#share?.use()
          received = 0
        }
        yield value
      }
    } finally {
      this.#share?.use()
      iterator.return?.()?.catch(() => {})
    }
  }

  [Symbol.dispose](): void {
    this.#isOver = true
    this.#share?.[Symbol.dispose]()
  }

  async #givingWay(next: Promise<unknown>, { pause, stopped }: WritingTurnOptions): Promise<void> {
    const over = this.#share?.rest()
    if (!over) return
    const isOver = Promise.withResolvers<true>()
    const onOver = (): void => isOver.resolve(true)
    over.addEventListener('abort', onOver)
    if (over.aborted) onOver()
    try {
      const came = next.then(
        () => false,
        () => false,
      )
      if (!(await abortable(Promise.race([isOver.promise, came]), stopped))) return
    } finally {
      over.removeEventListener('abort', onOver)
    }
    try {
      await pause()
    } finally {
      this.#share?.[Symbol.dispose]()
      this.#share = undefined
    }
  }

  async #takeAgain({ client, signal }: WritingTurnOptions): Promise<void> {
    if (this.#share || this.#isOver) return
    const share = await this.#turns.take(client, 1, { signal, isPatient: true })
    // It has ended while it waited.
    if (this.#isOver) share?.[Symbol.dispose]()
    else this.#share = share
  }
}
