/** Milliseconds in which a process that has slept hears what came meanwhile; more than readers wait for a bundle of it. */
const listenMs = 20

/**
 * Calls `onSilence` after so many milliseconds, and a little, unless what this returns is called before. What has arrived by
 * then is heard first: in a process that could not run for a while, on a machine under load or after it was suspended, timers
 * come before what the sockets have, and its own sleep is nobody's silence.
 */
export function afterSilence(milliseconds: number, onSilence: () => void): () => void {
  let timer = setTimeout(() => {
    timer = setTimeout(onSilence, listenMs)
  }, milliseconds)
  return () => clearTimeout(timer)
}
