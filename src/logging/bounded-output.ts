export interface BoundedOutputOptions {
  /** Bytes that wait at most while nobody reads. */
  readonly maxBytes?: number
  /** Milliseconds for which a flush waits at most. */
  readonly patienceMs?: number
  /** The line that says how many lines were lost before it. */
  readonly lost: (lines: number) => string
}

/** A stream, as far as it is needed. */
interface Sink {
  write(text: string, callback: (error?: Error | null) => void): unknown
}

/** Some thousands of lines. */
const defaultMaxBytes = 1024 * 1024
const defaultPatienceMs = 1000

/**
 * Where lines go, whatever becomes of who reads them: what does not fit, or cannot be written (nobody is there any more,
 * the disk is full), is dropped and counted, and one line says how many as soon as something can be written again. What
 * fits is handed on at once. Errors of the stream are its owner's to listen to.
 */
export class BoundedOutput {
  readonly #stream: Sink
  readonly #options: Required<BoundedOutputOptions>
  readonly #flushes = new Set<() => void>()
  /** Of lines that the stream has not yet written. */
  #waitingBytes = 0
  /** Lines that nobody was told of yet. */
  #lost = 0
  /** Whether the last write failed: half a line may stand where the next one goes. */
  #isBroken = false

  constructor(stream: Sink, options: BoundedOutputOptions) {
    this.#stream = stream
    this.#options = { maxBytes: defaultMaxBytes, patienceMs: defaultPatienceMs, ...options }
  }

  /** Writes a line, or counts it as lost. Throws nothing, and waits for nothing. */
  write(line: string): void {
    const isFull = this.#waitingBytes + line.length > this.#options.maxBytes
    // Once something is lost, all that waits goes first: one line says so, not one in every few.
    if (isFull || (this.#lost > 0 && this.#waitingBytes > 0)) this.#lost += 1
    else this.#send(line, 1)
  }

  /** Calls back when everything that was taken is written, or cannot be, and after the patience in any case. */
  flush(callback: () => void): void {
    if (this.#waitingBytes === 0) {
      callback()
      return
    }
    const end = (): void => {
      clearTimeout(timer)
      this.#flushes.delete(end)
      callback()
    }
    const timer = setTimeout(end, this.#options.patienceMs)
    this.#flushes.add(end)
  }

  #send(line: string, lines: number): void {
    const told = this.#lost
    const text = told > 0 ? `${this.#isBroken ? '\n' : ''}${this.#options.lost(told)}${line}` : line
    const bytes = Buffer.byteLength(text)
    this.#waitingBytes += bytes
    this.#stream.write(text, (error) => {
      this.#waitingBytes -= bytes
      this.#isBroken = Boolean(error)
      this.#lost += error ? lines : -told
      if (this.#waitingBytes > 0) return
      // Where it fails, the next line tries again.
      if (this.#lost > 0 && !error) this.#send('', 0)
      else for (const end of this.#flushes) end()
    })
  }
}
