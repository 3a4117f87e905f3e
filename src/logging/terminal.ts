/** What Node does not tell of a stream for a terminal. */
interface WithHandle {
  readonly _handle?: { setBlocking?(isBlocking: boolean): unknown }
}

/**
 * Lets writes to a terminal return at once, as those to a pipe do: Node waits for terminals, and one that is paused
 * (Ctrl-S, text that is marked, a connection that hangs) would pause the whole process. Dispose to have it as it was:
 * the shell may share it.
 */
export function withoutWaiting(terminal: NodeJS.WritableStream): Disposable {
  const { _handle: handle } = terminal as WithHandle
  handle?.setBlocking?.(false)
  return { [Symbol.dispose]: () => void handle?.setBlocking?.(true) }
}

/** Whether to colour what is written (no-color.org): not for a file, and as the user says. */
export function wantsColors(environment: NodeJS.ProcessEnv, isTerminal: boolean): boolean {
  if (environment.NO_COLOR) return false
  const { FORCE_COLOR: force } = environment
  if (force !== undefined && force !== '') return force !== '0' && force !== 'false'
  return isTerminal && environment.TERM !== 'dumb'
}
