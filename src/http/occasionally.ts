/** Milliseconds. */
const pauseMs = 60_000

/** What is worth a line in the log, and not one each time: something happens once a minute at most. */
export class Occasionally {
  #silentUntil = 0

  do(work: () => void): void {
    const now = performance.now()
    if (now < this.#silentUntil) return
    this.#silentUntil = now + pauseMs
    work()
  }
}
