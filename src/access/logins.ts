import { join } from 'node:path'
import type { Logger } from 'pino'
import { RegistryError } from '../oci/error.ts'
import type { Users } from './htpasswd.ts'
import { type CheckOptions, type Login, nativeBcrypt, Passwords } from './passwords.ts'
import type { Scope, Who } from './policy.ts'
import { openSigningKey } from './signing-key.ts'
import { type Token, Tokens } from './tokens.ts'
import { UsersFile, type UsersFileOptions } from './users-file.ts'

export interface LoginsOptions extends UsersFileOptions {
  /** The file of users; undefined where there are none (`auth.htpasswd`). */
  readonly htpasswd: string | undefined
  /** The data folder, which keeps the key that tokens are signed with. */
  readonly directory: string
  readonly logger: Logger
}

/** What became of a login. */
export type LoginOutcome = 'accepted' | 'refused' | 'crowded'

const nobody: Users = new Map()

/** Who somebody is: by a password, and then by a token for a while. Dispose to stop looking at the file of users. */
export class Logins implements AsyncDisposable {
  /** Those whose password was looked at so far. */
  readonly counts: Record<LoginOutcome, number> = { accepted: 0, refused: 0, crowded: 0 }
  readonly #file: UsersFile | undefined
  readonly #passwords: Passwords | undefined
  readonly #tokens: Tokens

  private constructor(file: UsersFile | undefined, passwords: Passwords | undefined, tokens: Tokens) {
    this.#file = file
    this.#passwords = passwords
    this.#tokens = tokens
  }

  /** Throws UnitError where the file of users cannot be read. */
  static async open(options: LoginsOptions): Promise<Logins> {
    const { htpasswd, directory, logger } = options
    const file = htpasswd === undefined ? undefined : await UsersFile.open(htpasswd, options)
    file?.start()
    const users = () => file?.users ?? nobody
    const key = await openSigningKey(join(directory, 'token.key'), logger)
    const passwords =
      file && new Passwords({ users, refresh: () => file.refresh(), compare: await nativeBcrypt() })
    return new Logins(file, passwords, new Tokens({ key, users }))
  }

  /** Whether anybody can log in. */
  get hasUsers(): boolean {
    return this.#file !== undefined && this.#file.users.size > 0
  }

  /** The user whose login this is; undefined where it is nobody's. Throws and rejects as `Passwords.match`. */
  async user(login: Login, options: CheckOptions): Promise<Who | undefined> {
    try {
      const fingerprint = await this.#passwords?.match(login, options)
      const isRight = fingerprint !== undefined
      this.counts[isRight ? 'accepted' : 'refused'] += 1
      return isRight ? { kind: 'user', name: login.user, fingerprint } : undefined
    } catch (error) {
      if (error instanceof RegistryError) this.counts.crowded += 1
      throw error
    }
  }

  /** A token for whoever has just shown a password, or for anyone. */
  issue(who: Who, scopes: readonly Scope[]): Promise<Token> {
    return this.#tokens.issue(who, scopes)
  }

  /** Whose token it is; undefined where it is none of ours, or is not good any more. */
  bearerOf(token: string): Promise<Who | undefined> {
    return this.#tokens.bearerOf(token)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file?.[Symbol.asyncDispose]()
  }
}
