import { LRUCache } from 'lru-cache'
import { OpenPull } from './open-pull.ts'
import type { Answered, Asked, LetGo, Pull } from './pull.ts'

/** A request under way, to be ended exactly once. */
export interface Attendance {
  answered(answer: Answered): void
}

export interface LedgerOptions {
  /** Milliseconds without a request after which a pull has ended. */
  readonly idleMs: number
  readonly onPull: (pull: Pull) => void
}

/** Pulls by one client of one repository. */
interface Visit {
  readonly pulls: OpenPull[]
  readonly weight: number
}

const roundsUntilIdle = 4
/** Rounds for which a pull that was told is remembered, so that what is asked for later has a name. */
const roundsKept = 120
const maximumPullsPerVisit = 16
/** Of all visits together, in the measure of `OpenPull.weight`: some ten megabytes. */
const maximumWeight = 50_000

/** Clients whose closed connections are remembered. */
const maximumLetGo = 1000

const nobody: Attendance = { answered: () => {} }

/**
 * Makes pulls out of requests: which client took which image, how much of it, and where from. A pull is what one
 * address asks of one repository under one name: a tag or digest, the manifests below it, and their blobs. It has
 * ended when all of these were sent whole, or nothing of it was asked for in a while: clients skip what they have.
 * Two clients behind one address that pull the same at the same time are one pull. Its memory is bounded; what is
 * pushed out is told at once. Dispose to tell what is open.
 */
export class Ledger implements Disposable {
  readonly #options: LedgerOptions
  readonly #visits: LRUCache<string, Visit>
  /** The last time, by client. */
  readonly #letGo = new LRUCache<string, LetGo>({ max: maximumLetGo })
  #rounds: NodeJS.Timeout | undefined
  #isEnding = false

  constructor(options: LedgerOptions) {
    this.#options = options
    this.#visits = new LRUCache<string, Visit>({
      maxSize: maximumWeight,
      sizeCalculation: ({ weight }) => weight,
      noDisposeOnSet: true,
      dispose: ({ pulls }) => {
        for (const pull of pulls) this.#tell(pull)
        pulls.length = 0
      },
    })
  }

  /** A HEAD of a blob is no part of a pull: whoever pushes asks so. */
  asked(asked: Asked): Attendance {
    if (asked.kind === 'blob' && asked.isHead) return nobody
    const key = `${asked.client} ${asked.upstream}/${asked.repository}`
    const { pulls } = this.#visits.get(key) ?? { pulls: [] }
    const pull = find(pulls, asked) ?? this.#begin(pulls, asked)
    // Asked for once more after the end: another pull of the same.
    if (pull.isReported) pull.beginAnew(asked)
    pull.asked(asked)
    this.#weigh(key, pulls)
    this.#rounds ??= setInterval(() => this.#round(), this.#options.idleMs / roundsUntilIdle).unref()
    return {
      answered: (answer) => {
        pull.answered(asked, answer)
        if (pull.isWhole) this.#tell(pull)
        // Pushed out meanwhile, it has been told.
        if (this.#visits.peek(key)?.pulls === pulls) this.#weigh(key, pulls)
      },
    }
  }

  /** A pull of this client that is under way, and not whole at its end, has failed. */
  letGo(letGo: LetGo): void {
    this.#letGo.set(letGo.client, letGo)
  }

  [Symbol.dispose](): void {
    this.#isEnding = true
    clearInterval(this.#rounds)
    this.#visits.clear()
  }

  #begin(pulls: OpenPull[], asked: Asked): OpenPull {
    const pull = new OpenPull(asked)
    const oldest =
      pulls.length < maximumPullsPerVisit ? undefined : pulls.find(({ underWay }) => underWay === 0)
    if (oldest) this.#forget(pulls, oldest)
    pulls.push(pull)
    return pull
  }

  /** The cache looks at a size only together with a new value. */
  #weigh(key: string, pulls: OpenPull[]): void {
    let weight = 4
    for (const pull of pulls) weight += pull.weight
    if (this.#visits.peek(key)?.weight !== weight) this.#visits.set(key, { pulls, weight })
  }

  #round(): void {
    for (const [key, { pulls }] of [...this.#visits.entries()]) {
      for (const pull of [...pulls]) {
        if (pull.underWay > 0) continue
        pull.idleRounds += 1
        const isOver = pull.idleRounds > roundsUntilIdle
        if (isOver) this.#tell(pull)
        const isOfNoMoreUse = pull.idleRounds > roundsKept || (isOver && !pull.isWorthTelling)
        if (isOfNoMoreUse) this.#forget(pulls, pull)
      }
      if (pulls.length === 0) this.#visits.delete(key)
    }
    if (this.#visits.size > 0) return
    clearInterval(this.#rounds)
    this.#rounds = undefined
  }

  #forget(pulls: OpenPull[], pull: OpenPull): void {
    this.#tell(pull)
    pulls.splice(pulls.indexOf(pull), 1)
  }

  #tell(pull: OpenPull): void {
    if (pull.isReported) return
    pull.isReported = true
    const cutShort = this.#isEnding ? 'the mirror stopped' : 'too much is asked for at once to follow it'
    if (!pull.isWorthTelling) return
    this.#options.onPull(pull.summary(cutShort, this.#isEnding, this.#letGo.get(pull.client)))
  }
}

/** Which pull a request belongs to. */
function find(pulls: readonly OpenPull[], { kind, reference }: Asked): OpenPull | undefined {
  if (kind === 'manifest') return pulls.findLast((pull) => pull.hasManifest(reference))
  return (
    pulls.findLast((pull) => pull.lacks(reference)) ??
    pulls.findLast((pull) => pull.hasBlob(reference)) ??
    // Of whatever is under way: its manifest was asked for elsewhere, or is none that can be read.
    pulls.findLast((pull) => !pull.isReported)
  )
}
