/**
 * A promise with its resolvers, for an event that nobody may be waiting for: a rejection that is never awaited
 * does not end the process, and whoever awaits it later still gets it.
 */
export function deferred<Value>(): PromiseWithResolvers<Value> {
  const resolvers = Promise.withResolvers<Value>()
  resolvers.promise.catch(() => {})
  return resolvers
}
