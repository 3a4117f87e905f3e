/**
 * Waits for `promise` until `signal` aborts, then rejects with the signal's reason. The work behind the promise
 * goes on: use it where one of several waiters leaves.
 */
export async function abortable<Value>(promise: Promise<Value>, signal?: AbortSignal): Promise<Value> {
  if (!signal) return promise
  // Whoever leaves before the race below must not make the work's failure one that nobody handles.
  promise.catch(() => {})
  signal.throwIfAborted()
  const aborted = Promise.withResolvers<never>()
  const onAbort = (): void => aborted.reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([promise, aborted.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/**
 * Waits for `promise`, but no longer than so many milliseconds: undefined then. Rejects as it does, and with the reason of
 * `signal` when that aborts. The work behind the promise goes on.
 */
export async function within<Value>(
  promise: Promise<Value>,
  milliseconds: number,
  signal?: AbortSignal | undefined,
): Promise<Value | undefined> {
  const first = Promise.withResolvers<Value | undefined>()
  promise.then(first.resolve, first.reject)
  const timer = setTimeout(first.resolve, milliseconds, undefined)
  timer.unref()
  try {
    return await abortable(first.promise, signal)
  } finally {
    clearTimeout(timer)
  }
}

/** Waits `milliseconds`. Rejects with the signal's reason when it aborts. The timer keeps no process alive. */
export async function delay(milliseconds: number, signal?: AbortSignal): Promise<void> {
  const elapsed = Promise.withResolvers<void>()
  const timer = setTimeout(elapsed.resolve, milliseconds)
  timer.unref()
  try {
    await abortable(elapsed.promise, signal)
  } finally {
    clearTimeout(timer)
  }
}

/** What `pieces` brings, until `signal` aborts: rejects with its reason then. Nobody waits for a piece that may never come. */
export async function* untilAborted<Value>(
  pieces: AsyncIterable<Value>,
  signal: AbortSignal,
): AsyncGenerator<Value> {
  const iterator = pieces[Symbol.asyncIterator]()
  try {
    for (;;) {
      const { done, value } = await abortable(iterator.next(), signal)
      if (done) return
      yield value
    }
  } finally {
    // It ends when its source does: a generator that waits for a piece cannot be ended before.
    iterator.return?.()?.catch(() => {})
  }
}
