import type { LentBytes } from '../../flow/lent-bytes.ts'
import type { Digest, DigestAlgorithm } from '../../oci/digest.ts'
import { RegistryError } from '../../oci/error.ts'
import { StorageError } from '../error.ts'
import type { Partial, PartialRemains, PartialView, SealedFile } from '../partial.ts'
import type { ByteInterval, Ranges, ReadonlyRanges } from '../ranges.ts'
import { InlineHash } from '../running-hash.ts'
import { copyOf } from './memory-partial.ts'
import type { WindowPartial } from './window-partial.ts'

/** Bytes that are read back at a time. */
const pieceSize = 1024 * 1024

/** A run of bytes in the file, and what their hash was on their way in. */
interface HashedRun extends ByteInterval {
  readonly digest: Promise<Digest>
}

export interface ContinuedPartialOptions {
  /** What the disk had taken; closed with this partial. */
  readonly remains: PartialRemains
  /** Begins where the prefix of `remains` that was hashed ends. */
  readonly window: WindowPartial
  readonly algorithm: DigestAlgorithm
}

/**
 * A partial that goes on in memory where the disk failed: what the file has is read from there, what comes is held by a
 * window, and nothing is kept. A disk that failed may have lost what it took: what was read is not to be relied on before
 * the file was hashed again, and has what was written to it (`PartialView.recheck`).
 */
export class ContinuedPartial implements Partial {
  readonly id: string
  readonly #remains: PartialRemains
  readonly #window: WindowPartial
  readonly #algorithm: DigestAlgorithm
  /** What is read from the file. */
  readonly #onFile: Ranges
  readonly #present: Ranges
  readonly #hashed: HashedRun[]
  #working: Promise<void> = Promise.resolve()
  /** The numbers of the last check that was begun, and of the last one that was good; whether one was not. */
  readonly #checks = { begun: 0, good: 0, isOneBad: false }
  #checking: Promise<void> = Promise.resolve()
  #nextCheck: Promise<void> | undefined
  /** The disk has lost some of it. */
  #loss: StorageError | undefined
  #hasEnded = false

  constructor({ remains, window, algorithm }: ContinuedPartialOptions) {
    this.id = window.id
    this.#remains = remains
    this.#window = window
    this.#algorithm = algorithm
    this.#onFile = copyOf(remains.present)
    this.#present = copyOf(remains.present)
    const digest = digestOfPrefix(remains)
    // Whoever checks it is told.
    digest.catch(() => {})
    this.#hashed = [{ start: 0, end: remains.hashedUntil, digest }]
  }

  get present(): ReadonlyRanges {
    return this.#present
  }

  get hashedUntil(): number {
    return this.#window.hashedUntil
  }

  /** The first byte is kept as long as all behind it are, and nobody has found that the disk has lost any. */
  get keptFrom(): number {
    const { keptFrom } = this.#window
    if (this.#checks.isOneBad) return Math.max(keptFrom, this.#hashed.at(-1)?.end ?? 0)
    return keptFrom > this.#remains.hashedUntil ? keptFrom : 0
  }

  /** Resolves when half of the window is free, or it has ended. */
  async hasRoom(): Promise<void> {
    await this.#window.hasRoom()
  }

  /** Resolves when all that the file has of the prefix is hashed; what cannot be read of it is not present any more. */
  settled(): Promise<void> {
    return this.#inTurn(() => this.#hashFile())
  }

  /** Throws RangeError where it would leave a hole. */
  write(position: number, borrowed: LentBytes): Promise<void> {
    const lent = borrowed.share()
    return this.#inTurn(async () => {
      using _ = lent
      await this.#hashFile()
      if (position > this.hashedUntil) {
        throw new RangeError(`bytes at ${position} leave a hole: those at ${this.hashedUntil} are next`)
      }
      const end = position + lent.length
      for (let front = this.hashedUntil; front < end; front = this.hashedUntil) {
        const until = this.#present.firstGap(end, front)?.end ?? end
        using part = lent.share(front - position, until - position)
        await this.#window.write(front, part)
        this.#present.add(front, until)
        await this.#hashFile()
      }
    })
  }

  view(from = 0, hasReadDisk = false): PartialView {
    const window = this.#window.view(from)
    const file = this.#remains.view()
    const checks = this.#checks
    // What was read before the disk failed is not to be relied on either.
    let readAt = hasReadDisk ? 0 : undefined
    const recheck = (): Promise<void> => this.#recheck()
    return {
      read: async (buffer, position) => {
        const length = this.#onFile.presentUntil(position) - position
        if (length === 0) return window.read(buffer, position)
        window.moveTo(position)
        if (this.#loss) throw this.#loss
        const count = await file.read(buffer.subarray(0, length), position)
        readAt = checks.begun
        return count
      },
      lend: (position) => {
        if (this.#onFile.presentUntil(position) === position) return window.lend?.(position)
        window.moveTo(position)
        return undefined
      },
      passed: () => window.passed?.(),
      get recheck() {
        return readAt === undefined || readAt < checks.good ? undefined : recheck
      },
      [Symbol.asyncDispose]: async () => {
        await window[Symbol.asyncDispose]()
        await file[Symbol.asyncDispose]()
      },
    }
  }

  /**
   * Throws StorageError as well where the disk may have changed bytes before anybody had hashed them. What it has lost after
   * that is the trouble of those who have read it: nobody else is kept from an end that is right.
   */
  async verify(expected: Digest): Promise<void> {
    await this.settled()
    const { hashedUntil } = this
    if (this.#present.total !== hashedUntil) {
      throw new RegistryError('SIZE_INVALID', `bytes are missing from ${hashedUntil} on`)
    }
    try {
      await this.#window.verify(expected)
    } catch (error) {
      // Bytes were read back after the failure, before anybody had hashed them: nobody knows whose fault it is.
      if (this.#hashed.length === 1 && !this.#remains.isHashDoubtful) throw error
      throw new StorageError('BROKEN', `partial ${this.id} has other bytes than expected`, { cause: error })
    }
    await this.#recheck().catch(() => {})
  }

  /** Throws Error: there is nothing that could be kept. Verify it, and discard it. */
  async seal(): Promise<SealedFile> {
    throw new Error(`partial ${this.id} is only handed through: it cannot be sealed`)
  }

  /** The same as `discard`. */
  async suspend(reason: Error): Promise<void> {
    await this.discard(reason)
  }

  /** Ends it; views still get what is held. */
  async discard(reason: Error): Promise<void> {
    await this.#window.discard(reason)
    if (this.#hasEnded) return
    this.#hasEnded = true
    // A file that has no name any more: what is there to be told of?
    await Promise.resolve(this.#remains[Symbol.asyncDispose]()).catch(() => {})
  }

  /** Throws Error: it is what remained. */
  async detach(): Promise<PartialRemains> {
    throw new Error(`partial ${this.id} is only handed through: nothing of it remains`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.discard(new Error(`partial ${this.id} was closed`))
  }

  /** One after the other: each goes on where the one before has ended. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    const working = this.#working.then(work)
    this.#working = working.catch(() => {})
    return working
  }

  /** Hashes what comes next and is in the file. */
  async #hashFile(): Promise<void> {
    for (;;) {
      const start = this.hashedUntil
      const end = this.#onFile.presentUntil(start)
      if (end === start) return
      const hash = new InlineHash(this.#algorithm)
      const reading = this.#readFile({ start, end }, async (piece) => {
        await hash.update(piece)
        await this.#window.pass(piece)
      })
      // What the disk cannot read is fetched.
      await reading.catch(() => {})
      const read = { start, end: this.hashedUntil }
      if (read.end > start) this.#hashed.push({ ...read, digest: hash.digest() })
      if (read.end === end) continue
      this.#onFile.remove(read.end, end)
      this.#present.remove(read.end, end)
    }
  }

  /** Resolves when the file was hashed again, all of it after this call. */
  #recheck(): Promise<void> {
    this.#nextCheck ??= this.#checking.then(() => {
      this.#nextCheck = undefined
      return this.#hashAgain()
    })
    this.#checking = this.#nextCheck.catch(() => {})
    return this.#nextCheck
  }

  async #hashAgain(): Promise<void> {
    if (this.#loss) throw this.#loss
    this.#checks.begun += 1
    const number = this.#checks.begun
    try {
      for (const { digest, ...run } of this.#hashed) {
        const hash = new InlineHash(this.#algorithm)
        await this.#readFile(run, (piece) => hash.update(piece))
        if ((await hash.digest()) === (await digest)) continue
        this.#loss = new StorageError('BROKEN', `the disk has lost bytes of partial ${this.id}`)
        throw this.#loss
      }
    } catch (error) {
      this.#checks.isOneBad = true
      throw error
    }
    this.#checks.good = number
  }

  async #readFile({ start, end }: ByteInterval, each: (piece: Buffer) => Promise<void>): Promise<void> {
    await using file = this.#remains.view()
    const buffer = Buffer.allocUnsafeSlow(Math.min(pieceSize, end - start))
    for (let at = start; at < end; ) {
      const count = await file.read(buffer.subarray(0, end - at), at)
      if (count === 0)
        throw new StorageError('BROKEN', `bytes of partial ${this.id} are missing from ${at} on`)
      await each(buffer.subarray(0, count))
      at += count
    }
  }
}

async function digestOfPrefix(remains: PartialRemains): Promise<Digest> {
  using hash = remains.hash()
  return await hash.digest()
}
