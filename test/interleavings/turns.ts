import { AsyncLocalStorage } from 'node:async_hooks'
import type fc from 'fast-check'
import type { Paths } from './paths.ts'

/** Who may go on, one at a time: `fc.scheduler()` draws one of those that wait, `ChosenTurns` tries each. */
export type Turns = Pick<fc.Scheduler, 'schedule' | 'count' | 'waitOne'>

interface PlayOptions {
  readonly stops?: () => boolean
  readonly passTime?: () => boolean
  /** Called between two steps, while everybody stands still. */
  readonly look?: () => Promise<void>
}

/** Steps after which a play is taken for endless. */
const maximumSteps = 5000

/** Who runs at the moment, and what it is about if it is one digest only. */
const context = new AsyncLocalStorage<{ readonly actor: string; readonly about?: string }>()

/**
 * What runs side by side, cut into steps. All that is waited for lies in memory, so after a step the others stand still
 * again within one turn of the event loop, at their next step or at a lock.
 */
export class Stage {
  /** The steps so far, in their order: `pusher: rename`. */
  readonly schedule: string[] = []
  readonly #turns: Turns
  #isOpen = false

  constructor(turns: Turns) {
    this.#turns = turns
  }

  /**
   * Waits for a turn. Nobody waits while the stage is not open: what is prepared is no part of the play. `touches`: what
   * the step reads or changes; undefined: what the actor is about, else everything.
   */
  async step(name: string, touches?: readonly string[]): Promise<void> {
    if (!this.#isOpen) return
    const { actor = 'nobody', about } = context.getStore() ?? {}
    const label = `${actor}: ${name}`
    await this.#turns.schedule(Promise.resolve(), label, touches ?? (about ? [about] : undefined))
    this.schedule.push(label)
  }

  /** Runs what is about one digest. */
  about<Value>(digest: string, work: () => Promise<Value>): Promise<Value> {
    return context.run({ actor: 'nobody', ...context.getStore(), about: digest }, work)
  }

  /**
   * Runs the actors until all have ended, or until `stops` says so between two steps: then they never go on, as after a
   * crash. Where none of them moves, `passTime` may make some time pass; false: enough of it. Returns whether all have
   * ended. Throws what an actor throws, and Error where none of them moves any more.
   */
  async play(
    actors: Readonly<Record<string, () => Promise<void>>>,
    { stops = () => false, passTime = () => false, look = async () => {} }: PlayOptions = {},
  ): Promise<boolean> {
    this.#isOpen = true
    let running = 0
    const failures: unknown[] = []
    for (const [actor, act] of Object.entries(actors)) {
      running += 1
      context
        .run({ actor }, act)
        .catch((error: unknown) => failures.push(error))
        .finally(() => {
          running -= 1
        })
    }
    try {
      await settled()
      // What an actor has set going may outlive it.
      for (; running + this.#turns.count() > 0 && failures.length === 0; await settled()) {
        await look()
        if (stops()) break
        if (this.schedule.length > maximumSteps) throw new Error(`it never ends: ${this.#lastSteps}`)
        if (this.#turns.count() > 0) await this.#turns.waitOne()
        else if (!passTime()) throw new Error(`nobody moves any more: ${this.#lastSteps}`)
      }
    } finally {
      this.#isOpen = false
    }
    if (failures.length > 0) throw failures[0]
    return running === 0
  }

  get #lastSteps(): string {
    return this.schedule.slice(-20).join(', ')
  }
}

/** Gives turns along a path, and so each path once. */
export class ChosenTurns implements Turns {
  readonly #paths: Paths
  readonly #waiting = new Map<string, { go: () => void; touches: readonly string[] | undefined }>()

  constructor(paths: Paths) {
    this.#paths = paths
  }

  async schedule<Value>(task: Promise<Value>, label = '', touches?: unknown): Promise<Value> {
    if (this.#waiting.has(label)) throw new Error(`two wait for the same step "${label}"`)
    await new Promise<void>((go) =>
      this.#waiting.set(label, { go, touches: touches as readonly string[] | undefined }),
    )
    return task
  }

  count(): number {
    return this.#waiting.size
  }

  async waitOne(): Promise<void> {
    const options = [...this.#waiting].map(([name, { touches }]) => ({ name, touches }))
    const { name } = this.#paths.take(options)
    const next = this.#waiting.get(name)
    this.#waiting.delete(name)
    next?.go()
  }
}

/** Whoever can go on without a turn has done so. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
