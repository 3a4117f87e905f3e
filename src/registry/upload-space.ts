import type { Logger } from 'pino'
import { bestEffort } from '../flow/best-effort.ts'
import { Occasionally } from '../flow/occasionally.ts'
import { RegistryError, tooManyRequests } from '../oci/error.ts'
import type { UploadSession } from './upload-session.ts'

export interface UploadSpaceOptions {
  readonly sessions: ReadonlyMap<string, UploadSession>
  readonly logger: Logger
  /** Bytes that all of them may have together (`local.uploadSpace`). */
  readonly space?: number | undefined
  /** Milliseconds without a request after which one makes room for anybody. */
  readonly idleMs?: number | undefined
  /** Milliseconds without a request after which one of a client that has much makes room. */
  readonly restMs?: number | undefined
}

/** Uploads that are not at their end. A class of 40 machines behind one address has some hundred. */
const maximum = { sessions: 4096, perClient: 1024 } as const
/** The part of the space that one client may have beside its largest upload. */
const clientPart = 1 / 2
const defaultIdleMs = 10 * 60_000
/** One that has brought no byte makes room sooner: clients begin some to see whether they may. */
const emptyMs = 60_000
const defaultRestMs = 10_000

/**
 * What unfinished uploads may have, each client and all together. Where that is used up, those go with which nobody goes
 * on: of a client that has more than its part its own, else what is long idle, or something of whoever has most; the
 * longest idle one first, and never one that a request is at work with.
 */
export class UploadSpace {
  readonly #options: UploadSpaceOptions
  readonly #line = new Occasionally()
  /** Room is made for one at a time: what goes for the first is not counted as still there for the next. */
  #making: Promise<void> = Promise.resolve()

  constructor(options: UploadSpaceOptions) {
    this.#options = options
  }

  /** Makes place for one more upload of a client. Throws RegistryError TOOMANYREQUESTS (429) where nothing can be let go. */
  makePlace(client: string): void {
    const { restMs = defaultRestMs, idleMs = defaultIdleMs } = this.#options
    const all = [...this.#options.sessions.values()]
    const own = all.filter(({ use }) => use.client === client)
    if (own.length >= maximum.perClient) {
      const message = `${own.length} unfinished uploads are of this client, and one may have ${maximum.perClient}: finish or cancel some of them, or wait until they are purged (local.uploadTtl in mirror.yml)`
      this.#letGo(client, longestIdle(own, restMs), message)
    } else if (all.length >= maximum.sessions) {
      const sooner = Math.min(emptyMs, idleMs)
      const forgotten = longestIdle(all, (session) => (session.isEmpty ? sooner : idleMs))
      const message = `${all.length} uploads are under way here, as many as may be: finish or cancel some of them, or wait until they are purged (local.uploadTtl in mirror.yml)`
      this.#letGo(client, forgotten ?? longestIdleOfMost(all, own.length + 1, () => 1, restMs), message)
    }
  }

  /**
   * Makes room for so many bytes more of an upload. Throws RegistryError SIZE_INVALID (413) where it alone is too large,
   * TOOMANYREQUESTS (429) where nothing can be let go.
   */
  async makeRoom(asking: UploadSession, bytes: number): Promise<void> {
    const { space = Number.POSITIVE_INFINITY } = this.#options
    const size = asking.size + bytes
    if (size > space) {
      const message = `the blob has ${size} bytes or more, and all that is being uploaded may have ${space} (local.uploadSpace in mirror.yml)`
      throw new RegistryError('SIZE_INVALID', message, { status: 413 })
    }
    if (!this.#lack(asking, bytes)) return
    const making = this.#making.then(() => this.#makeRoom(asking, bytes))
    this.#making = making.catch(() => {})
    await making
  }

  async #makeRoom(asking: UploadSession, bytes: number): Promise<void> {
    const { restMs = defaultRestMs, idleMs = defaultIdleMs } = this.#options
    const tried = new Set([asking])
    for (let lack = this.#lack(asking, bytes); lack; lack = this.#lack(asking, bytes)) {
      const others = [...this.#options.sessions.values()].filter(
        (session) => session.size > 0 && !tried.has(session),
      )
      const idle = lack.isOwn
        ? longestIdle(
            others.filter(({ use }) => use.client === asking.use.client),
            restMs,
          )
        : (longestIdle(others, idleMs) ?? longestIdleOfMost(others, lack.own, ({ size }) => size, restMs))
      if (!idle) throw this.#refused(asking.use.client, lack.message)
      tried.add(idle)
      this.#tell(asking.use.client, lack.message)
      await bestEffort(idle.cancel(), () => {})
    }
  }

  /** What there is too little of; undefined where it fits. */
  #lack(asking: UploadSession, bytes: number) {
    const { sessions, space = Number.POSITIVE_INFINITY } = this.#options
    let [all, own, largest] = [0, 0, 0]
    for (const session of sessions.values()) {
      const size = session === asking ? session.size + bytes : session.size
      all += size
      if (session.use.client !== asking.use.client) continue
      own += size
      largest = Math.max(largest, size)
    }
    if (own - largest > space * clientPart) {
      const message = `unfinished uploads of this client have ${own - bytes} bytes, and one client may have half of local.uploadSpace (mirror.yml) beside its largest: finish or cancel some, or try again when they are purged (local.uploadTtl)`
      return { isOwn: true, own, message }
    }
    if (all <= space) return undefined
    const message = `unfinished uploads have all of the ${space} bytes that they may have (local.uploadSpace in mirror.yml): finish or cancel some, or try again when they are purged (local.uploadTtl)`
    return { isOwn: false, own, message }
  }

  #letGo(client: string, session: UploadSession | undefined, message: string): void {
    if (!session) throw this.#refused(client, message)
    this.#tell(client, message)
    void bestEffort(session.cancel(), () => {})
  }

  #refused(client: string, message: string): RegistryError {
    this.#tell(client, message)
    return tooManyRequests(message)
  }

  #tell(client: string, reason: string): void {
    this.#line.do(client, () =>
      this.#options.logger.warn({ client, reason }, 'unfinished uploads have used up what they may have'),
    )
  }
}

function longestIdle(
  sessions: readonly UploadSession[],
  leastMs: number | ((session: UploadSession) => number),
): UploadSession | undefined {
  let [longest, longestMs]: [UploadSession | undefined, number] = [undefined, -1]
  for (const session of sessions) {
    const { idleMs } = session.use
    if (idleMs === undefined || idleMs <= longestMs) continue
    if (idleMs < (typeof leastMs === 'number' ? leastMs : leastMs(session))) continue
    longest = session
    longestMs = idleMs
  }
  return longest
}

/** Of the clients that have more than `own`, whoever has most comes first. */
function longestIdleOfMost(
  sessions: readonly UploadSession[],
  own: number,
  weightOf: (session: UploadSession) => number,
  leastMs: number,
): UploadSession | undefined {
  const byClient = new Map<string, { sum: number; theirs: UploadSession[] }>()
  for (const session of sessions) {
    const has = byClient.get(session.use.client) ?? { sum: 0, theirs: [] }
    has.sum += weightOf(session)
    has.theirs.push(session)
    byClient.set(session.use.client, has)
  }
  const richer = [...byClient.values()].filter(({ sum }) => sum > own)
  for (const { theirs } of richer.toSorted((one, other) => other.sum - one.sum)) {
    const idle = longestIdle(theirs, leastMs)
    if (idle) return idle
  }
  return undefined
}
