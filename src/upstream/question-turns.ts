import { Pulse } from '../flow/pulse.ts'
import { type Slot, Slots } from '../flow/slots.ts'
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
  /** How many wait, of each kind. */
  readonly maximumWaiting?: number
}

const defaultPatienceMs = 20_000
const defaultMaximumWaiting = 1000
/** Milliseconds; a second is the shortest patience. */
const beatMs = 500

/** Whose turn it is to ask an upstream; whoever comes first is served first. */
export class QuestionTurns {
  readonly #upstream: string
  readonly #patienceMs: number
  readonly #maximumWaiting: number
  readonly #large = new Slots(largeAtOnce)
  readonly #lines: Readonly<Record<QuestionKind, { readonly slots: Slots; asked: number }>>

  constructor({ upstream, patienceMs, maximumWaiting }: QuestionTurnsOptions) {
    this.#upstream = upstream
    this.#patienceMs = patienceMs ?? defaultPatienceMs
    this.#maximumWaiting = maximumWaiting ?? defaultMaximumWaiting
    const line = (kind: QuestionKind) => ({ slots: new Slots(atOnce[kind]), asked: 0 })
    this.#lines = {
      question: line('question'),
      referrers: line('referrers'),
      'unknown referrers': line('unknown referrers'),
    }
  }

  /**
   * Does `work` when it is its turn. A question that shows no sign of life gives its turn to the next one, and goes on.
   * Rejects as
   * `work` does, with UpstreamError TIMED_OUT where too many wait or it takes too long, and with the signal's reason.
   */
  async take<Value>(
    kind: QuestionKind,
    { signal }: Asking,
    work: (asking: Asking) => Promise<Value>,
  ): Promise<Value> {
    const line = this.#lines[kind]
    if (line.asked >= atOnce[kind] + this.#maximumWaiting) throw this.#tooMany()
    line.asked += 1
    let isAsked = true
    let slot: Slot | undefined
    let large: Slot | undefined
    const giveUp = (): void => {
      slot?.[Symbol.dispose]()
      if (isAsked) line.asked -= 1
      isAsked = false
    }
    let stopListening: (() => void) | undefined
    try {
      slot = await this.#wait(line.slots, signal)
      // Lists of referrers are the largest, and nobody waits for them long: they keep their turn.
      if (kind === 'question') stopListening = Pulse.current?.whenSilent(giveUp)
      // A list of referrers may wait for a question, and would for ever where both waited for the other's place.
      const onLarge = async (): Promise<void> => {
        large ??= await alive(this.#large.take(signal))
      }
      return await work({ signal, ...(kind === 'question' ? { onLarge } : {}) })
    } finally {
      stopListening?.()
      giveUp()
      large?.[Symbol.dispose]()
    }
  }

  async #wait(slots: Slots, signal: AbortSignal | undefined): Promise<Slot> {
    const late = new AbortController()
    const timer = setTimeout(() => late.abort(this.#tooMany()), this.#patienceMs).unref()
    try {
      return await slots.take(signal ? AbortSignal.any([signal, late.signal]) : late.signal)
    } finally {
      clearTimeout(timer)
    }
  }

  #tooMany(): UpstreamError {
    const message = 'too many questions wait for it: ask again later'
    return new UpstreamError('TIMED_OUT', this.#upstream, message)
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
