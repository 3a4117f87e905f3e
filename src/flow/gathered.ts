/** Milliseconds for which more is waited for: long enough for a client that sends, and nothing for one that trickles. */
const lingerMs = 2

export interface GatheringOptions {
  /** Bytes to be put together, or little more; asked anew for each time. */
  readonly limit: () => number
}

/**
 * The same pieces, several at a time: those that come while the ones before are made use of, and at once what comes slowly.
 * Rejects as `pieces` does, after what came before that. What is gathered is not copied.
 */
export async function* gathered(
  pieces: AsyncIterable<Uint8Array>,
  { limit }: GatheringOptions,
): AsyncGenerator<readonly Uint8Array[]> {
  const iterator = pieces[Symbol.asyncIterator]()
  let ready: Uint8Array[] = []
  let bytes = 0
  let end: { readonly error?: unknown } | undefined
  let changed = Promise.withResolvers<void>()
  let taken = Promise.withResolvers<void>()
  const read = async (): Promise<void> => {
    try {
      for (;;) {
        const { done, value } = await iterator.next()
        if (done) break
        ready.push(value)
        bytes += value.length
        changed.resolve()
        if (bytes >= limit()) await taken.promise
      }
      end = {}
    } catch (error) {
      end = { error }
    }
    changed.resolve()
  }
  void read()
  try {
    for (;;) {
      while (!end && bytes < limit()) {
        const before = bytes
        const timer = before > 0 ? setTimeout(changed.resolve, lingerMs) : undefined
        await changed.promise
        clearTimeout(timer)
        changed = Promise.withResolvers()
        if (bytes === before) break
      }
      if (bytes > 0) {
        const together = ready
        ready = []
        bytes = 0
        taken.resolve()
        taken = Promise.withResolvers()
        yield together
      } else if (end) {
        if ('error' in end) throw end.error
        return
      }
    }
  } finally {
    // It ends when its source does: a generator that waits for a piece cannot be ended before.
    iterator.return?.()?.catch(() => {})
  }
}
