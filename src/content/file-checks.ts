import { abortable } from '../flow/abortable.ts'
import { Places } from '../flow/places.ts'
import { createDigestHash, type Digest, digestAlgorithm, finishDigest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import type { BlobReader } from '../storage/blob-reader.ts'
import type { BlobStore, FileLook, StoredBlob } from '../storage/blob-store.ts'
import { StorageError } from '../storage/error.ts'
import { isSameFile } from './damage.ts'
import type { DiskState } from './disk-state.ts'
import { whenNotBusy } from './patience.ts'

/** Files that are hashed at a time; more would only make each other's disk seek. */
const checksAtOnce = 2
const pieceSize = 1024 * 1024

/**
 * Resolves where the file may be served to its end. `actual`: what it has; undefined where it cannot be read. `look`: as it
 * was before it was hashed.
 */
type Judge = (actual: Digest | undefined, look: FileLook) => Promise<void>

/** One file under its digest, and who waits for what is found. */
interface Check {
  /** The very file that the first reader has opened: closed once both need it no more. */
  readonly file: StoredBlob
  /** As it was before it was hashed. */
  readonly look: FileLook
  /** Whether that reader has left. */
  isLeft: boolean
  hasEnded: boolean
  readonly done: Promise<void>
  /** Aborts when the last reader leaves. */
  readonly left: AbortController
  /** Aborts when nobody reads it and others wait. */
  readonly givenUp: AbortController
  readers: number
  isGood: boolean
}

/** How a check goes, and when it ends before its end. */
interface Course {
  readonly judge: Judge
  readonly look: FileLook
  /** Of `Check`: before it has begun nothing is lost. */
  readonly left: AbortSignal
  readonly givenUp: AbortSignal
  /** Whoever comes from now on begins another one. */
  readonly forget: () => void
}

/**
 * Compares stored files with their digests beside their transfers: a few at a time, and each once for all who read it.
 * One whose readers have all left is given up before it begins, and later where others wait: else it goes on to its end,
 * since a client that could not wait asks again. Dispose to end all of them.
 */
export class FileChecks implements AsyncDisposable {
  /** By the digest and the file. */
  readonly #checks = new Map<string, Check>()
  readonly #slots = new Places(checksAtOnce)
  readonly #running = new Set<Promise<void>>()
  readonly #stopped = new AbortController()
  readonly #check: BlobStore['check']
  #waiting = 0

  /** `check`: see `BlobStore`. */
  constructor(check: BlobStore['check']) {
    this.#check = check
  }

  /**
   * A reader whose last byte waits for `judge`, and once more where the file changes while it is read; it takes `file` over,
   * and is to be closed by the caller. `isKnown`: it was verified, and is hashed only where it changes.
   */
  reader(digest: Digest, file: StoredBlob, judge: Judge, { isKnown = false } = {}): BlobReader {
    const join = (look: FileLook): Check => {
      const key = `${digest} ${look.trace}`
      const joined = this.#checks.get(key) ?? this.#begin(key, digest, file, { look, judge })
      joined.readers += 1
      return joined
    }
    let check = isKnown ? undefined : join(file.opened)
    let isOpen = true
    let hasRead = false
    const isUnchanged = (): boolean => file.look().trace === (check?.look ?? file.opened).trace
    return {
      size: file.size,
      get isVerified() {
        return check ? check.isGood && isUnchanged() : !hasRead || isUnchanged()
      },
      verified: async (options) => {
        for (;;) {
          const before = check
          if (before) await abortable(before.done, options?.signal)
          if (before !== check) continue
          if (isUnchanged()) return
          leave(before)
          this.#makeRoom()
          check = join(file.look())
        }
      },
      read: (buffer, position, options) => {
        hasRead = true
        return file.read(buffer, position, options)
      },
      [Symbol.asyncDispose]: async () => {
        if (!isOpen) return
        isOpen = false
        leave(check)
        this.#makeRoom()
        if (!check || check.file !== file || check.hasEnded) return file[Symbol.asyncDispose]()
        // It is being hashed, and closed after that.
        check.isLeft = true
      },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort(new RegistryError('UNAVAILABLE', 'the mirror is stopping: ask again when it is back'))
    await Promise.all(this.#running)
  }

  #begin(
    key: string,
    digest: Digest,
    file: StoredBlob,
    { look, judge }: Pick<Course, 'look' | 'judge'>,
  ): Check {
    const left = new AbortController()
    const forget = (): void => {
      if (this.#checks.get(key) === check) this.#checks.delete(key)
    }
    const givenUp = new AbortController()
    const check: Check = {
      file,
      look,
      done: this.#run(digest, file, { judge, look, left: left.signal, givenUp: givenUp.signal, forget }),
      left,
      givenUp,
      isLeft: false,
      hasEnded: false,
      readers: 0,
      isGood: false,
    }
    const running = check.done
      .then(
        () => {
          check.isGood = true
        },
        () => {},
      )
      .finally(async () => {
        forget()
        this.#running.delete(running)
        check.hasEnded = true
        if (check.isLeft) await file[Symbol.asyncDispose]()
      })
    this.#running.add(running)
    this.#checks.set(key, check)
    return check
  }

  async #run(
    digest: Digest,
    file: StoredBlob,
    { judge, look, left, givenUp, forget }: Course,
  ): Promise<void> {
    using _slot = await this.#turn(left, forget)
    givenUp.addEventListener('abort', forget, { once: true })
    const signal = AbortSignal.any([givenUp, this.#stopped.signal])
    const actual = await this.#hash(file, look, digest, signal).catch(noneIfBroken)
    await judge(actual, look)
  }

  /** Rejects where nobody waits for it any more. */
  async #turn(left: AbortSignal, forget: () => void): Promise<Disposable> {
    left.addEventListener('abort', forget, { once: true })
    this.#waiting += 1
    this.#makeRoom()
    try {
      return await this.#slots.take(AbortSignal.any([left, this.#stopped.signal]))
    } finally {
      this.#waiting -= 1
      left.removeEventListener('abort', forget)
    }
  }

  /** Where others wait, what nobody reads any more ends. */
  #makeRoom(): void {
    if (this.#waiting === 0) return
    for (const { readers, left, givenUp } of this.#checks.values()) {
      // Whoever is about to begin has no reader yet, and has not lost one.
      if (readers === 0 && left.signal.aborted) {
        givenUp.abort(new Error('nobody reads it any more, and others wait'))
      }
    }
  }

  async #hash(
    file: StoredBlob,
    look: FileLook,
    digest: Digest,
    signal: AbortSignal,
  ): Promise<Digest | undefined> {
    const checked = await whenNotBusy(() => this.#check(digest, { isServed: true, signal }), signal)
    if (checked && isSameFile(checked.file, look)) return checked.actual
    // It was removed or replaced since it was opened: nobody else can read it any more.
    return hashOpened(file, digest, signal)
  }
}

async function hashOpened(file: BlobReader, digest: Digest, signal: AbortSignal): Promise<Digest> {
  const algorithm = digestAlgorithm(digest)
  const hash = createDigestHash(algorithm)
  const buffer = Buffer.allocUnsafeSlow(Math.min(pieceSize, Math.max(file.size, 1)))
  for (let position = 0; position < file.size; ) {
    const count = await file.read(buffer, position, { signal })
    if (count === 0) break
    hash.update(buffer.subarray(0, count))
    position += count
  }
  return finishDigest(hash, algorithm)
}

function leave(check: Check | undefined): void {
  if (!check) return
  check.readers -= 1
  if (check.readers === 0) check.left.abort(new Error('nobody reads it any more'))
}

/** A sector that cannot be read is as bad as wrong bytes; a file that may not be read is of as little use. */
export function noneIfBroken(error: unknown): undefined {
  const isOfFile = error instanceof StorageError && ['BROKEN', 'CORRUPT', 'DENIED'].includes(error.code)
  if (!isOfFile) throw error
}

/** What the disk does not give is a miss, for whoever has another way to it; the disk is asked until it is well. */
export function missIfBroken(disk: DiskState): (error: unknown) => undefined {
  return (error) => {
    // What is somebody else's says nothing of the disk.
    if (!(error instanceof StorageError && error.code === 'DENIED')) disk.failed(error)
    return noneIfBroken(error)
  }
}
