import type { OpenedSpan, Source, SpanQuery } from '../../src/content/source.ts'
import type { LentBytes } from '../../src/flow/lent-bytes.ts'
import type { Slots, Turn } from '../../src/flow/slots.ts'
import type { RepositoryKey } from '../../src/storage/repository-key.ts'
import { UpstreamError } from '../../src/upstream/error.ts'
import type { Ledger } from './ledger.ts'
import type { Lending } from './lending.ts'
import type { SimAnswer, SimUpstream } from './upstream.ts'

/** What the connections of a process to one upstream share. */
export interface Line {
  readonly upstream: SimUpstream
  /** Connections at a time. */
  readonly connections: Slots
  /** Blobs at a time. */
  readonly downloads: Slots
}

export interface SimSourceOptions {
  readonly line: Line
  readonly ledger: Ledger
  readonly lending: Lending
  readonly log: (what: string) => void
  /** Milliseconds of silence after which it fails. */
  readonly watchdogMs: number
}

/** The way to a blob by an upstream, as a process goes it. */
export class SimSource implements Source {
  readonly #options: SimSourceOptions

  constructor(options: SimSourceOptions) {
    this.#options = options
  }

  get name(): string {
    return this.#options.line.upstream.character.name
  }

  get repository(): RepositoryKey {
    return this.#options.line.upstream.repository
  }

  get roundTripMs(): number | undefined {
    const { upstream } = this.#options.line
    return upstream.asked > 0 ? upstream.character.roundTripMs : undefined
  }

  turn(turn: Turn, signal: AbortSignal): Promise<Disposable> {
    return this.#options.line.downloads.take(turn, signal)
  }

  async size({ signal }: { readonly signal: AbortSignal }): Promise<number | undefined> {
    const { line, ledger } = this.#options
    const size = await line.upstream.size(ledger, signal)
    if (size !== undefined && size !== ledger.blob.bytes.length)
      ledger.wrong(this.name, 'a wrong size was told')
    return size
  }

  async open(position: number, query: SpanQuery): Promise<OpenedSpan> {
    const { line, ledger, log } = this.#options
    const { upstream, connections } = line
    const what = `${ledger.blob.name} ${position}-${query.end ?? ''} of ${this.name}`
    log(`asks for ${what}`)
    const place = await connections.take(query.turn, query.signal)
    const connection = new Connection(upstream, place)
    try {
      query.onPlace?.()
      const answer = await upstream.answer(ledger, position, query.end, query.signal)
      const { kind = 'good', start, until, size } = answer
      log(`has an answer, ${kind}: ${what}: ${start}-${until}/${size}`)
      return this.#span(answer, position, query, connection)
    } catch (error) {
      log(`fails: ${what}: ${error}`)
      connection.close()
      throw error
    }
  }

  #span(answer: SimAnswer, position: number, query: SpanQuery, connection: Connection): OpenedSpan {
    const { ledger } = this.#options
    const isFalse = answer.size !== undefined && answer.size !== ledger.blob.bytes.length
    if (isFalse) ledger.wrong(this.name, 'a wrong size was told')
    return {
      start: answer.start,
      end: answer.end,
      size: answer.size,
      body: () => this.#body(answer, position, query, connection),
      stop: () => connection.stop(),
      discard: () => connection.close(),
    }
  }

  async *#body(
    answer: SimAnswer,
    asked: number,
    query: SpanQuery,
    connection: Connection,
  ): AsyncGenerator<LentBytes> {
    const { signal, pace } = query
    const { line, ledger, lending, log } = this.#options
    const { upstream } = line
    const { kind, start, until, faultAt, rate } = answer
    const { bytes, name } = ledger.blob
    const faultsAt = start + faultAt
    const breaks = kind === 'cut' || kind === 'ends early' || kind === 'stalls'
    const last = breaks ? Math.min(until, faultsAt) : until
    let latest = 0
    try {
      for (let at = start; at < last; ) {
        const end = Math.min(last, at + upstream.pieceSize())
        await pace?.(end - at)
        if (connection.isStopped) return
        await upstream.bring(end - at, rate, signal, connection.stopped)
        if (connection.isStopped && upstream.toss()) return
        const piece = Buffer.from(bytes.subarray(at, end))
        ledger.given(at, end, { start: asked, end: query.end })
        if (connection.isStopped) ledger.excuse(end - at, 'in flight at a stop')
        if (kind === 'corrupts' && faultsAt >= at && faultsAt < end) {
          piece[faultsAt - at] = (piece[faultsAt - at] ?? 0) ^ 1
          ledger.isTainted = true
          ledger.wrong(this.name, 'a byte was wrong')
        }
        log(`receives ${name} ${at}-${end} of ${this.name}`)
        latest = end - at
        using lent = lending.lend(piece)
        yield lent
        latest = 0
        at = end
        if (connection.isStopped) return
      }
      if (kind === 'goes on') yield* this.#surplus(answer, query, connection)
      if (connection.isStopped) return
      const isShort = last < Math.min(query.end ?? bytes.length, bytes.length)
      if (isShort && answer.size === undefined && kind !== 'cut' && kind !== 'stalls') {
        ledger.excuseAll('it ended too early, in good order, and had told no size')
      }
      if (kind === 'stalls' && !connection.isStopped) {
        await upstream.wait(this.#options.watchdogMs, signal, connection.stopped)
        if (!connection.isStopped) throw new UpstreamError('TIMED_OUT', this.name, 'nothing came any more')
      }
      const isCut = kind === 'cut' || (kind === 'says more' && until === bytes.length)
      if (isCut && !connection.isStopped) throw new UpstreamError('UNREACHABLE', this.name, 'it broke off')
    } finally {
      if (latest > 0) ledger.excuse(latest, 'in flight at the end of a span')
      connection.close()
    }
  }

  /** What comes behind the last byte; where no end was told, nobody can know that it is none. */
  async *#surplus(
    { end, size, rate }: SimAnswer,
    { signal }: SpanQuery,
    connection: Connection,
  ): AsyncGenerator<LentBytes> {
    const { line, ledger, lending, log } = this.#options
    const { upstream } = line
    const bytes = upstream.pieceSize()
    await upstream.bring(bytes, rate, signal, connection.stopped)
    if (connection.isStopped) return
    if (end === undefined && size === undefined) {
      ledger.isTainted = true
      ledger.wrong(this.name, 'a body went on behind an end that nobody told')
    }
    log(`receives ${bytes} bytes behind the end of ${ledger.blob.name}`)
    using lent = lending.lend(Buffer.alloc(bytes))
    yield lent
  }
}

/** One connection, and its place among those that there may be. */
class Connection {
  readonly #upstream: SimUpstream
  readonly #place: Disposable
  readonly #stopped = new AbortController()
  #isOpen = true

  constructor(upstream: SimUpstream, place: Disposable) {
    this.#upstream = upstream
    this.#place = place
    upstream.open += 1
  }

  get stopped(): AbortSignal {
    return this.#stopped.signal
  }

  get isStopped(): boolean {
    return this.#stopped.signal.aborted
  }

  stop(): void {
    this.#stopped.abort()
    this.close()
  }

  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#upstream.open -= 1
    this.#place[Symbol.dispose]()
  }
}
