/** Counts answers down to the one behind which somebody strikes. */
export class Countdown {
  #left = 0
  #end = Promise.withResolvers<void>()

  /** Resolves after so many answers from now on. */
  begin(answers: number): Promise<void> {
    this.#left = answers
    this.#end = Promise.withResolvers()
    return this.#end.promise
  }

  readonly answered = (): void => {
    this.#left -= 1
    if (this.#left <= 0) this.#end.resolve()
  }
}
