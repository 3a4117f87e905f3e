import { createHmac, randomBytes } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { Places } from '../flow/places.ts'
import { SingleFlight } from '../flow/single-flight.ts'
import { tooManyRequests } from '../oci/error.ts'
import { fingerprintOf, type Users } from './htpasswd.ts'

export interface Login {
  readonly user: string
  readonly password: string
}

export interface PasswordsOptions {
  /** The users as they are now. */
  readonly users: () => Users
  /** Looks for changes of the users, before somebody is turned away. */
  readonly refresh: () => Promise<void>
  /** Milliseconds for which a password that was right is remembered. */
  readonly rememberMs?: number | undefined
  /** Compares a password with a bcrypt hash, off this thread. */
  readonly compare: (password: string, hash: string) => Promise<boolean>
}

export interface CheckOptions {
  /** For whom; nobody's logins fill the queue for the others. */
  readonly client: string
  /** Aborts when whoever asks is gone: what waits is withdrawn. */
  readonly signal: AbortSignal
}

/** Checks at a time: each takes a processor for as long as its hash's cost says. */
const atATime = 2
const longestQueue = 64
const perClient = 8
const remembered = 1000
const defaultRememberMs = 5 * 60 * 1000
/** containerd asks for a token twice where it is refused one, by POST and by GET. */
const rememberWrongMs = 3000
/** bcrypt looks at no byte behind these: all that begin alike would be one password. */
const longestPassword = 72

/** bcrypt of the platform's own code, in the threads of Node. It is loaded only where there are users. */
export async function nativeBcrypt(): Promise<PasswordsOptions['compare']> {
  const { compare } = (await import('bcrypt')).default
  // They are one algorithm: `y` is PHP's word for what `b` says.
  return (password, hash) => compare(password, hash.replace(/^\$2y/, '$2b'))
}

/**
 * Whether a password is that of a user. A check costs tens of milliseconds of a processor, so that few are made at a
 * time, few may wait, and what was right is remembered for a while (what was wrong, for a moment): by a keyed hash, which
 * is worth nothing outside this process, of the password with the user's hash, so that it is forgotten when that changes.
 */
export class Passwords {
  readonly #options: PasswordsOptions
  readonly #key = randomBytes(32)
  readonly #slots = new Places(atATime)
  readonly #checks = new SingleFlight<string, boolean>()
  readonly #clients = new Map<string, number>()
  readonly #known: LRUCache<string, boolean>
  #waiting = 0

  constructor(options: PasswordsOptions) {
    this.#options = options
    this.#known = new LRUCache({ max: remembered })
  }

  /**
   * The fingerprint of the user's hash, where the password is its: of the hash that it was compared with, which is that
   * of the user still. Throws RegistryError TOOMANYREQUESTS (429) where too many logins wait; rejects with the reason of
   * `signal`.
   */
  async match(login: Login, options: CheckOptions): Promise<string | undefined> {
    const { users, refresh } = this.#options
    const hash = users().get(login.user)
    const fingerprint = await this.#matching(hash, login, options)
    if (fingerprint !== undefined) return fingerprint
    await refresh()
    // Somebody may have been added, or given another password, a moment ago.
    const now = users().get(login.user)
    return now === hash ? undefined : this.#matching(now, login, options)
  }

  /** A login may wait for long: what was right when it came counts for nothing where the user has another hash since. */
  async #matching(
    hash: string | undefined,
    login: Login,
    options: CheckOptions,
  ): Promise<string | undefined> {
    if (!(await this.#check(hash, login, options)) || hash === undefined) return undefined
    return this.#options.users().get(login.user) === hash ? fingerprintOf(hash) : undefined
  }

  async #check(
    hash: string | undefined,
    { user, password }: Login,
    { client, signal }: CheckOptions,
  ): Promise<boolean> {
    if (password === '' || password.includes('\0') || Buffer.byteLength(password) > longestPassword)
      return false
    // Neither a name nor a hash has a zero byte.
    const key = createHmac('sha256', this.#key)
      .update(`${user}\0${hash ?? ''}\0${password}`)
      .digest('base64')
    const before = this.#known.get(key)
    if (before !== undefined) return before
    const isRight = await this.#checks.run(key, (gone) => this.#compare(password, hash, client, gone), signal)
    const { rememberMs = defaultRememberMs } = this.#options
    this.#known.set(key, isRight, { ttl: isRight ? rememberMs : Math.min(rememberMs, rememberWrongMs) })
    return isRight
  }

  async #compare(
    password: string,
    hash: string | undefined,
    client: string,
    signal: AbortSignal,
  ): Promise<boolean> {
    const ofClient = this.#clients.get(client) ?? 0
    if (ofClient >= perClient) {
      throw tooManyRequests('too many logins come from this address at a time: try again in a moment')
    }
    if (this.#waiting >= longestQueue) {
      throw tooManyRequests('too many logins wait to be checked: try again in a moment')
    }
    this.#clients.set(client, ofClient + 1)
    try {
      this.#waiting += 1
      using _turn = await this.#slots.take(signal).finally(() => {
        this.#waiting -= 1
      })
      return await this.#work(password, hash)
    } finally {
      const left = (this.#clients.get(client) ?? 0) - 1
      if (left > 0) this.#clients.set(client, left)
      else this.#clients.delete(client)
    }
  }

  /** What is wrong takes the work of the highest cost, whoever it is said to be: how long it takes tells nobody who is one. */
  async #work(password: string, hash: string | undefined): Promise<boolean> {
    const { compare, users } = this.#options
    if (hash !== undefined && (await compare(password, hash))) return true
    const highest = Math.max(0, ...[...users().values()].map(costOf))
    if (hash === undefined) {
      if (highest > 0) await compare(password, hashOfNobody(highest))
      return false
    }
    // Each doubles the work of the one before: the one that was done and these make up that of the highest.
    for (let cost = costOf(hash); cost < highest; cost += 1) await compare(password, hashOfNobody(cost))
    return false
  }
}

function costOf(hash: string): number {
  return Number(hash.slice(4, 6))
}

/** A hash that no password has. */
function hashOfNobody(cost: number): string {
  return `$2b$${String(cost).padStart(2, '0')}$${'.'.repeat(53)}`
}
