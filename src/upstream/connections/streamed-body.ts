import type { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Request } from 'got'
import type { BodySource } from './body-source.ts'

/** Takes the bytes of a stream. */
interface Sink<Piece> extends Writable {
  readonly hasBytes: boolean
  take(): Piece | undefined
  arrival(): Promise<void>
  leave(): void
  finish(end?: { readonly error?: unknown }): void
  readonly over: { readonly error?: unknown } | undefined
}

/** Milliseconds in which an answer that nobody needs more of may end by itself. */
const lingerMs = 500
/** Bytes of an unwanted answer that are read; more cost more than a new connection. */
const drainBytes = 16 * 1024

/** A body that comes through Node's HTTP client and got. */
export class StreamedBody {
  readonly #stream: Request
  #isStopped = false

  constructor(stream: Request) {
    this.#stream = stream
  }

  /** Leads it into `sink`; to be called once at most. */
  into<Piece>(sink: Sink<Piece>): BodySource<Piece> {
    const stream = this.#stream
    const ended = pipeline(stream, sink).then(
      () => sink.finish(),
      (error: unknown) => sink.finish(this.#isStopped ? {} : { error }),
    )
    return {
      get hasBytes() {
        return sink.hasBytes
      },
      take: () => sink.take(),
      arrival: () => sink.arrival(),
      get end() {
        return sink.over
      },
      destroy: (error) => void stream.destroy(error),
      leave: () => {
        // Whoever has all that was wanted leaves before the end is read; a moment later the connection can serve
        // again. One that sends on is closed.
        sink.leave()
        const closing = setTimeout(() => stream.destroy(), lingerMs)
        closing.unref()
        ended.finally(() => clearTimeout(closing))
      },
    }
  }

  /** Ends the connection, and the body without an error after what has arrived. */
  stop(): void {
    this.#isStopped = true
    this.#stream.destroy()
  }

  /**
   * Reads what is left of a small answer: its connection can then serve again, and a new one takes round trips. `length` is
   * what the answer says of its body, and `stallMs` the milliseconds that it may take.
   */
  async drain(length: string | undefined, stallMs: number): Promise<void> {
    const stream = this.#stream
    const watchdog = setTimeout(() => stream.destroy(), stallMs)
    watchdog.unref()
    try {
      let left = Number(length ?? 0) > drainBytes ? 0 : drainBytes
      if (left > 0) {
        for await (const chunk of stream) {
          left -= chunk.length
          if (left < 0) break
        }
      }
    } catch {
      // Nobody wants this answer any more, hence nobody wants to know how it ended.
    } finally {
      clearTimeout(watchdog)
      stream.destroy()
    }
  }
}
