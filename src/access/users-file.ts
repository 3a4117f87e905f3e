import { constants, open } from 'node:fs/promises'
import type { Logger } from 'pino'
import { abortable } from '../flow/abortable.ts'
import { IntervalJob } from '../flow/interval-job.ts'
import { tellSeldom } from '../flow/seldom.ts'
import { fileFailure } from '../units/file-failure.ts'
import { UnitError } from '../units/unit-error.ts'
import { largestFile, parseHtpasswd, type Users } from './htpasswd.ts'

export interface UsersFileOptions {
  readonly logger: Logger
  /** Milliseconds between two looks at the file. */
  readonly checkMs?: number | undefined
  /** Milliseconds for which a file in which users are missing has to stay as it is before that is believed. */
  readonly settleMs?: number | undefined
}

/** Within so many milliseconds of a change another one may leave the times of a file as they are. */
const coarsestClockMs = 2100
/** Milliseconds that a login waits for a look at the file: it may lie on a file server that is away. */
const patienceMs = 1000

/** What the file was at one look. */
interface Look {
  readonly text: string
  /** What changes when it is written, moved or linked to anew; undefined where it changed a moment ago. */
  readonly mark: string | undefined
}

/**
 * The users of a file, as they are now. It is looked at again and again, by its name: editors and Kubernetes put another
 * file in its place. What cannot be read leaves the users as they were, and so does for a moment a file in which some are
 * missing: programs write such a file bit by bit. One that holds nobody any more is damaged, however long.
 */
export class UsersFile implements AsyncDisposable {
  readonly #path: string
  readonly #logger: Logger
  readonly #settleMs: number
  readonly #job: IntervalJob
  #current: { readonly users: Users; readonly text: string }
  #mark: string | undefined
  /** One in which users are missing, and since when it has been so, in milliseconds of `performance.now()`. */
  #smaller: { readonly text: string; readonly since: number } | undefined
  #told: string | undefined
  #looking: Promise<void> | undefined

  private constructor(path: string, { text, mark }: Look, options: UsersFileOptions) {
    this.#path = path
    this.#logger = options.logger
    this.#settleMs = options.settleMs ?? 2000
    this.#current = { users: parseHtpasswd(text), text }
    this.#mark = mark
    this.#job = new IntervalJob((signal) => abortable(this.#lookOnce(), signal), {
      intervalMs: options.checkMs ?? 1000,
      onError: (err) =>
        tellSeldom(this.#logger, 'error', { err }, 'the file of users could not be looked at'),
    })
  }

  /** Reads the file. Throws UnitError where it cannot be read, or is none of users. */
  static async open(path: string, options: UsersFileOptions): Promise<UsersFile> {
    try {
      const file = new UsersFile(path, await read(path), options)
      if (file.users.size === 0) {
        options.logger.warn({ file: path }, 'the file of users holds nobody: nobody can log in')
      }
      return file
    } catch (error) {
      throw new UnitError(`auth.htpasswd: ${path}: ${problemOf(error)}`, { cause: error })
    }
  }

  /** Begins to look at the file. */
  start(): void {
    this.#job.start()
  }

  get users(): Users {
    return this.#current.users
  }

  /** Looks at the file now: whoever has just been added need not wait. Waits for a second at most. */
  async refresh(): Promise<void> {
    await abortable(this.#lookOnce(), AbortSignal.timeout(patienceMs)).catch(() => {})
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#job[Symbol.asyncDispose]()
  }

  async #lookOnce(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined
    })
    await this.#looking
  }

  async #look(): Promise<void> {
    try {
      const found = await read(this.#path, this.#mark)
      if (found === undefined) return
      // What is not taken yet is read again at the next look.
      this.#mark = this.#take(found.text) ? found.mark : undefined
      this.#told = undefined
    } catch (error) {
      this.#mark = undefined
      this.#tell(problemOf(error))
    }
  }

  /** Whether the users are those of this text now. Throws UnitError. */
  #take(text: string): boolean {
    if (text === this.#current.text) {
      this.#smaller = undefined
      return true
    }
    const users = parseHtpasswd(text)
    if (users.size === 0 && this.users.size > 0)
      throw new UnitError('it holds no user any more (a restart takes it as it is)')
    const isSmaller = [...this.#current.users.keys()].some((name) => !users.has(name))
    if (isSmaller && !this.#isSettled(text)) return false
    this.#smaller = undefined
    this.#current = { users, text }
    this.#logger.info({ users: users.size }, 'the file of users was read again')
    return true
  }

  #isSettled(text: string): boolean {
    if (this.#smaller?.text !== text) this.#smaller = { text, since: performance.now() }
    return performance.now() - this.#smaller.since >= this.#settleMs
  }

  #tell(problem: string): void {
    this.#smaller = undefined
    if (problem === this.#told) return
    this.#told = problem
    const { size: users } = this.users
    this.#logger.error(
      { file: this.#path, reason: problem, users },
      'the file of users cannot be used as it is now: the users stay those that it had before',
    )
  }
}

async function read(path: string): Promise<Look>
async function read(path: string, known: string | undefined): Promise<Look | undefined>
/** Undefined where it is what it was. */
async function read(path: string, known?: string): Promise<Look | undefined> {
  // A pipe would be waited for until somebody writes to it.
  await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  const before = await file.stat({ bigint: true })
  if (!before.isFile()) throw new UnitError('this is no regular file')
  const mark = [before.dev, before.ino, before.size, before.mtimeNs, before.ctimeNs].join(' ')
  if (mark === known) return undefined
  if (before.size > largestFile) throw new UnitError('larger than 1 MiB')
  const text = await file.readFile('utf8')
  const isOld = Date.now() - Number(before.ctimeNs / 1_000_000n) > coarsestClockMs
  return { text, mark: isOld ? mark : undefined }
}

function problemOf(error: unknown): string {
  return error instanceof UnitError ? error.message : `cannot be read: ${fileFailure(error)}`
}
