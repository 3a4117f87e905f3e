import { Pulse } from '../flow/pulse.ts'
import { type Background, Slots, type Turn, type WhyOver } from '../flow/slots.ts'
import { UpstreamError } from './error.ts'
import type { Asking } from './question.ts'

/**
 * Questions of each kind that are asked, and whose answers are read and recorded, at a time: each answer may be of 4 MiB,
 * a list of referrers of more. Subjects of which nothing is here anyone can make up: they wait in a line of their own.
 */
const atOnce = { question: 16, referrers: 4, 'unknown referrers': 2 }
/** Of the questions, those whose answers are large: they are read one at a time anyway, and cost tens of megabytes each. */
const largeAtOnce = 1

export type QuestionKind = keyof typeof atOnce

export interface QuestionTurnsOptions {
  /** The upstream's name, for errors. */
  readonly upstream: string
  /** Milliseconds after which nobody waits for a turn any more: clients give up after 30 s without headers. */
  readonly patienceMs?: number
  /** How many of one client wait, of each kind. */
  readonly maximumWaiting?: number
  /** Milliseconds after which a turn is over that brings next to nothing, or whose client has more than its share. */
  readonly turnMs?: number | undefined
}

/** For whom a turn is taken: those who wait for the answer at any moment, at first whoever asks for it first. */
export interface TurnQuery extends Asking {
  readonly clients?: Iterable<string>
}

const defaultPatienceMs = 20_000
const defaultMaximumWaiting = 1000
const defaultTurnMs = 15_000
/** Milliseconds; a second is the shortest patience. */
const beatMs = 500
/** Bytes a second that are next to nothing: a line of 64 kbit/s has more for each, of a large answer much more. */
const trickle = 128
const largeTrickle = 1024
/** Seconds after which it is worth asking again. */
const retryAfterSeconds = 5

/**
 * Whose turn it is to ask an upstream: of the client that has the fewest turns. Where others wait, a turn ends with its
 * question for two reasons of three: it is long, it brings next to nothing, its client has more than its share.
 */
export class QuestionTurns {
  readonly #options: Required<QuestionTurnsOptions>
  readonly #large: Slots
  readonly #lines: Readonly<
    Record<QuestionKind, { readonly line: Slots; readonly asked: Map<string, number> }>
  >

  constructor(options: QuestionTurnsOptions) {
    const { patienceMs = defaultPatienceMs, maximumWaiting = defaultMaximumWaiting } = options
    const { turnMs = defaultTurnMs } = options
    this.#options = { ...options, patienceMs, maximumWaiting, turnMs }
    const lineOf = (places: number) => new Slots({ places, turnMs, answerMs: turnMs })
    const line = (kind: QuestionKind) => ({ line: lineOf(atOnce[kind]), asked: new Map<string, number>() })
    this.#large = lineOf(largeAtOnce)
    this.#lines = {
      question: line('question'),
      referrers: line('referrers'),
      'unknown referrers': line('unknown referrers'),
    }
  }

  /**
   * Does `work` when it is its turn. A question that shows no sign of life gives its turn to the next one, and goes on.
   * Rejects as `work` does, with UpstreamError CROWDED where too many wait, it takes too long, or others wait for a turn
   * that is over, and with the signal's reason.
   */
  async take<Value>(
    kind: QuestionKind,
    { signal, background, clients = background ? [] : [''] }: TurnQuery,
    work: (asking: Asking) => Promise<Value>,
  ): Promise<Value> {
    const { line, asked } = this.#lines[kind]
    const [client = ''] = clients
    const own = asked.get(client) ?? 0
    if (own >= atOnce[kind] + this.#options.maximumWaiting)
      throw this.#crowded(`not asked, since ${own} questions of this client wait already`)
    asked.set(client, own + 1)
    let isAsked = true
    let place: Disposable | undefined
    let large: Disposable | undefined
    const giveUp = (): void => {
      place?.[Symbol.dispose]()
      if (!isAsked) return
      isAsked = false
      const left = (asked.get(client) ?? 0) - 1
      if (left > 0) asked.set(client, left)
      else asked.delete(client)
    }
    const over = new AbortController()
    const ending = signal ? AbortSignal.any([signal, over.signal]) : over.signal
    const turn = (least: number) =>
      new QuestionTurn({ clients, background }, least, (reason) => over.abort(this.#crowded(reason)))
    let stopListening: (() => void) | undefined
    try {
      place = await this.#wait(line, turn(trickle), signal)
      // Lists of referrers are the largest, and nobody waits for them long: they keep their turn.
      if (kind === 'question') stopListening = Pulse.current?.whenSilent(giveUp)
      // A list of referrers may wait for a question, and would for ever where both waited for the other's place.
      const onLarge = async (): Promise<void> => {
        if (large) return
        const one = turn(largeTrickle)
        large = await alive(this.#large.take(one, ending))
        one.begin()
      }
      return await work({ signal: ending, client, background, ...(kind === 'question' ? { onLarge } : {}) })
    } finally {
      stopListening?.()
      giveUp()
      large?.[Symbol.dispose]()
    }
  }

  async #wait(line: Slots, turn: QuestionTurn, signal: AbortSignal | undefined): Promise<Disposable> {
    const { patienceMs } = this.#options
    const late = new AbortController()
    const lateness = `not asked, since questions that came before took longer than ${patienceMs / 1000} s`
    const timer = setTimeout(() => late.abort(this.#crowded(lateness)), patienceMs).unref()
    try {
      const place = await line.take(turn, signal ? AbortSignal.any([signal, late.signal]) : late.signal)
      turn.begin()
      return place
    } finally {
      clearTimeout(timer)
    }
  }

  #crowded(what: string): UpstreamError {
    return new UpstreamError('CROWDED', this.#options.upstream, `${what}: ask again in a moment`, {
      retryAfterSeconds,
    })
  }
}

/** A question's place among others. */
class QuestionTurn implements Turn {
  readonly restingMs = 0
  readonly clients: Iterable<string>
  readonly background: Background | undefined
  readonly #least: number
  readonly #onOver: (reason: string) => void
  readonly #pulse = Pulse.current
  readonly #bytesBefore = this.#pulse?.bytes ?? 0
  #begunAt = performance.now()

  /** `least`: bytes a second below which it brings next to nothing. */
  constructor(
    { clients, background }: Pick<Turn, 'clients' | 'background'>,
    least: number,
    onOver: (reason: string) => void,
  ) {
    this.clients = clients
    this.background = background
    this.#least = least
    this.#onOver = onOver
  }

  begin(): void {
    this.#begunAt = performance.now()
  }

  get bytes(): number {
    return (this.#pulse?.bytes ?? 0) - this.#bytesBefore
  }

  get receivingSince(): number | undefined {
    const since = this.#pulse?.receivingSince
    return since === undefined ? undefined : Math.max(since, this.#begunAt)
  }

  end(why: WhyOver, hasMore: boolean): boolean {
    const { receivingSince, bytes } = this
    const seconds = (performance.now() - (receivingSince ?? this.#begunAt)) / 1000
    const isTrickling = receivingSince !== undefined && bytes < this.#least * seconds
    const isMore = hasMore || why === 'unwanted'
    const isLong = why === 'turn'
    if (Number(isLong) + Number(isTrickling) + Number(isMore) < 2) return false
    const brought = receivingSince === undefined ? 'no byte' : `${bytes} bytes`
    this.#onOver(`given up, since others wait and it brought ${brought} in ${Math.round(seconds)} s`)
    return true
  }
}

/** Waits for our own side, which is no silence of the other one: the question is alive meanwhile. */
async function alive<Value>(waiting: Promise<Value>): Promise<Value> {
  const pulse = Pulse.current
  const beating = setInterval(() => pulse?.beat(), beatMs).unref()
  try {
    return await waiting
  } finally {
    clearInterval(beating)
  }
}
