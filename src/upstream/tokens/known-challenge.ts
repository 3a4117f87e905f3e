import type { Challenge } from './challenge.ts'

/** The challenge that a registry last made; it lets us bring a token before we are asked. */
export class KnownChallenge {
  #current: Challenge | undefined
  #isPresumed = false

  get current(): Challenge | undefined {
    return this.#current
  }

  /** It was made to a question about a repository. */
  made(challenge: Challenge): void {
    this.#current = challenge
    this.#isPresumed = false
  }

  /** It was made to a question of nobody, and such questions are likely to get it as well. */
  presume(challenge: Challenge | undefined): void {
    if (this.#current) return
    this.#current = challenge
    this.#isPresumed = true
  }

  /** It led to no token: the next question comes without one, to be told. Returns whether it was presumed only. */
  forget(challenge: Challenge): boolean {
    if (this.#current !== challenge) return false
    this.#current = undefined
    return this.#isPresumed
  }
}
