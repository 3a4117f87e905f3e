import { parseManifest } from '../oci/manifest.ts'
import { Ranges } from '../storage/ranges.ts'
import type { Answered, Asked, LetGo, Pull, PullOutcome } from './pull.ts'

/** Names of blobs and manifests that are remembered of one pull; a manifest with more is not counted to its end. */
const maximumNames = 1000
/** Bytes; a manifest that is longer is not read for this, which would keep others waiting. */
const maximumManifest = 256 * 1024
/** Pieces of one blob that are told apart; who reads in more (lazily) never has it "whole". */
const maximumPieces = 256

interface Trouble {
  readonly outcome: 'left' | 'failed'
  readonly reason: string
  readonly isRefusal: boolean
}

interface BlobState {
  sent: Ranges | 'nothing' | 'whole'
  size: number | undefined
  /** Whether a manifest of this pull names it. */
  isNamed: boolean
  trouble: Trouble | undefined
}

/** One pull on its way: the manifests that were asked for under one name, and the blobs that these name. */
export class OpenPull {
  /** The tag or digest that it began with; undefined where only blobs were asked for. */
  readonly reference: string | undefined
  /** Rounds of the ledger without a request of it. */
  idleRounds = 0
  underWay = 0
  isReported = false
  readonly #first: Asked
  #startedAt: number
  #endedAt: number
  readonly #manifests = new Set<string>()
  readonly #parsed = new Set<string>()
  readonly #blobs = new Map<string, BlobState>()
  readonly #manifestTroubles = new Map<string, Trouble>()
  #digest: string | undefined
  #missing = 0
  #named = 0
  #isUncountable = false
  #isRest = false
  #agent: string | undefined
  #hasBlobs = false
  #bytes = { cached: 0, joined: 0, line: 0 }

  constructor(first: Asked) {
    this.#first = first
    this.reference = first.kind === 'manifest' ? first.reference : undefined
    this.#startedAt = first.at
    this.#endedAt = first.at
    if (this.reference?.includes(':')) this.#digest = this.reference
  }

  /** The client's address. */
  get client(): string {
    return this.#first.client
  }

  /** A measure of the memory that it takes. */
  get weight(): number {
    return 8 + this.#manifests.size + this.#blobs.size
  }

  /** Whether a manifest by this reference belongs to it. */
  hasManifest(reference: string): boolean {
    return reference === this.reference || this.#manifests.has(reference)
  }

  /** Whether a manifest of it names this blob, or it was asked for with it. */
  hasBlob(digest: string): boolean {
    return this.#blobs.has(digest)
  }

  /** Whether the blob is still to be sent. */
  lacks(digest: string): boolean {
    const blob = this.#blobs.get(digest)
    return blob !== undefined && blob.sent !== 'whole'
  }

  /** Whether every blob that its manifests name was sent whole, and nothing is under way. */
  get isWhole(): boolean {
    const isCountable = this.#named > 0 && !this.#isUncountable && !this.#isRest
    return isCountable && this.underWay === 0 && this.#hasBlobs && this.#missing === 0
  }

  /**
   * Whether there is something to tell: a blob was asked for, or the manifest could not be had. Who asks for blobs of no
   * manifest that are not there looks around.
   */
  get isWorthTelling(): boolean {
    const isLooking = this.#manifests.size === 0 && [...this.#blobs.values()].every(isRefused)
    return (this.#hasBlobs && !isLooking) || (this.#manifestTroubles.size > 0 && !isSideTag(this.reference))
  }

  /** What was told of it is over: another pull of the same, or the rest of one that paused. */
  beginAnew({ kind, at }: Asked): void {
    this.isReported = false
    this.#startedAt = at
    this.#endedAt = at
    this.#hasBlobs = false
    this.#bytes = { cached: 0, joined: 0, line: 0 }
    this.#manifestTroubles.clear()
    // Which blobs are the rest, nobody can tell.
    this.#isRest = kind === 'blob'
    for (const blob of this.#blobs.values()) {
      blob.trouble = undefined
      if (!this.#isRest) this.#expect(blob)
    }
  }

  asked({ kind, reference, agent, isHead }: Asked): void {
    this.underWay += 1
    this.idleRounds = 0
    if (!isHead) this.#agent = agent
    if (kind !== 'blob') return
    this.#hasBlobs = true
    const blob = this.#blobs.get(reference)
    if (!blob)
      this.#remember(reference, { sent: 'nothing', size: undefined, isNamed: false, trouble: undefined })
    // Asked for again: whoever had it threw it away.
    else this.#expect(blob)
  }

  answered(asked: Asked, answer: Answered): void {
    this.underWay -= 1
    this.idleRounds = 0
    this.#endedAt = Math.max(this.#endedAt, answer.at)
    if (asked.kind === 'manifest') this.#manifestAnswered(asked, answer)
    else this.#blobAnswered(asked.reference, answer)
    const { cache, isAhead, status } = answer
    const bytes = status < 300 ? answer.bytes : 0
    if (cache === 'miss' || isAhead) this.#bytes.line += bytes
    else if (cache === 'joined') this.#bytes.joined += bytes
    else this.#bytes.cached += bytes
  }

  /**
   * What is to be told at its end. `cutShort`: why it could not go on, where something is still under way, or with
   * `isStopped` (the mirror ends before the pull has) where blobs that its manifests name were not sent. `letGo`: when
   * connections of its client were last closed; what it asked for on them nobody knows.
   */
  summary(cutShort: string, isStopped: boolean, letGo: LetGo | undefined): Pull {
    const { client, upstream, repository } = this.#first
    const { cached, joined, line } = this.#bytes
    const trouble = this.#worstTrouble(letGo)
    const isCutShort = this.underWay > 0 || (isStopped && this.#missing > 0)
    const outcome: PullOutcome = trouble?.outcome ?? (isCutShort ? 'stopped' : 'finished')
    return {
      client,
      agent: this.#agent,
      upstream,
      repository,
      reference: this.reference,
      digest: this.#digest,
      bytes: cached + joined + line,
      cachedBytes: cached,
      joinedBytes: joined,
      lineBytes: line,
      ms: Math.max(0, this.#endedAt - this.#startedAt),
      outcome,
      reason: trouble?.reason ?? (outcome === 'stopped' ? cutShort : undefined),
      isRefusal: trouble?.isRefusal ?? false,
    }
  }

  #manifestAnswered({ reference, isHead }: Asked, answer: Answered): void {
    const { manifest, status } = answer
    if (manifest && status < 400) {
      this.#manifests.add(manifest.digest)
      if (reference === this.reference) this.#digest = manifest.digest
    }
    if (isHead) return
    const trouble = troubleOf(answer)
    if (trouble) this.#manifestTroubles.set(reference, trouble)
    else this.#manifestTroubles.delete(reference)
    if (manifest && status < 300 && !this.#parsed.has(manifest.digest)) this.#read(manifest)
  }

  #read({ digest, mediaType, bytes }: NonNullable<Answered['manifest']>): void {
    this.#parsed.add(digest)
    if (bytes.length > maximumManifest) {
      this.#isUncountable = true
      return
    }
    let parsed: ReturnType<typeof parseManifest>
    try {
      parsed = parseManifest(bytes, mediaType)
    } catch {
      // It was taken in before; where it is not understood here, the pull ends when it rests.
      this.#isUncountable = true
      return
    }
    for (const child of parsed.manifests.slice(0, maximumNames)) this.#manifests.add(child.digest)
    for (const { digest: name, size } of parsed.blobs) {
      const known = this.#blobs.get(name)
      if (known?.isNamed) continue
      const blob = known ?? { sent: 'nothing', size, isNamed: true, trouble: undefined }
      if (!known && !this.#remember(name, blob)) return
      blob.isNamed = true
      this.#named += 1
      if (blob.sent !== 'whole') this.#missing += 1
    }
  }

  #blobAnswered(digest: string, answer: Answered): void {
    const blob = this.#blobs.get(digest)
    if (!blob || blob.sent === 'whole') return
    const { status, bytes, ending } = answer
    blob.size = answer.blob?.size ?? blob.size
    const start = answer.blob ? answer.blob.start : 0
    // Who asks for several parts at once reads what it needs, and never has it "whole".
    if (status < 300 && start !== undefined) {
      const end = start + bytes
      // A client that leaves once it has its piece has all that was sent; one that leaves at the very end has not.
      const isUnsure = ending === 'left' && end === blob.size
      if (blob.sent === 'nothing') blob.sent = new Ranges()
      blob.sent.add(start, isUnsure ? end - answer.pendingBytes : end)
    }
    const hasIt = status === 304 || (status < 300 && isCovered(blob, ending === 'complete'))
    if (hasIt) {
      blob.sent = 'whole'
      blob.trouble = undefined
      if (blob.isNamed) this.#missing -= 1
      return
    }
    blob.trouble = troubleOf(answer) ?? blob.trouble
    const pieces = blob.sent instanceof Ranges ? [...blob.sent].length : 0
    if (pieces > maximumPieces) this.#isUncountable = true
  }

  #expect(blob: BlobState): void {
    if (blob.sent !== 'whole') return
    blob.sent = 'nothing'
    if (blob.isNamed) this.#missing += 1
  }

  #remember(digest: string, blob: BlobState): boolean {
    if (this.#blobs.size < maximumNames) this.#blobs.set(digest, blob)
    else this.#isUncountable = true
    return !this.#isUncountable
  }

  #worstTrouble(letGo: LetGo | undefined): Trouble | undefined {
    let worst: Trouble | undefined
    for (const trouble of this.#troubles()) {
      if (trouble.outcome === 'failed') return trouble
      worst = trouble
    }
    const isLetGo = letGo && letGo.at >= this.#startedAt && (this.#missing > 0 || this.#isUncountable)
    if (isLetGo) return { outcome: 'failed', reason: letGo.reason, isRefusal: false }
    return worst
  }

  *#troubles(): Generator<Trouble> {
    yield* this.#manifestTroubles.values()
    // What a manifest names, its registry ought to have.
    for (const { trouble, isNamed } of this.#blobs.values())
      if (trouble) yield isNamed ? { ...trouble, isRefusal: false } : trouble
  }
}

/** Whether what was sent covers a blob; of one whose size nobody knows, an answer that is complete does. */
function isCovered({ sent, size }: BlobState, isComplete: boolean): boolean {
  if (size === undefined) return isComplete
  return size === 0 || (sent instanceof Ranges && !sent.firstGap(size))
}

function isRefused({ trouble }: BlobState): boolean {
  return trouble?.isRefusal === true
}

function troubleOf({ ending, status, reason }: Answered): Trouble | undefined {
  if (ending === 'left') return { outcome: 'left', reason: 'the client left', isRefusal: false }
  const isComplete = ending === 'complete'
  // 416: it has it all, and asked whether there is more.
  const isGood = status < 400 || status === 416
  if (isComplete && isGood) return undefined
  const isRefusal = isComplete && status < 500
  return { outcome: 'failed', reason: reason ?? `it was answered with ${status}`, isRefusal }
}

/** Clients look for signatures and referrers under such tags, and mostly there are none. */
function isSideTag(reference: string | undefined): boolean {
  return reference !== undefined && /^sha(?:256|512)-[0-9a-f]{64}/.test(reference)
}
