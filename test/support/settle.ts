import { setTimeout as sleep } from 'node:timers/promises'

/** Of the machine, also where a test has put a clock of its own in its place. */
const now = performance.now.bind(performance)

/**
 * Waits until `condition` holds, looking every `intervalMs` milliseconds.
 * Throws an Error that names what was awaited after `timeoutMs` milliseconds: by default as long as a busy machine may
 * need, and no longer than what goes on by itself after ten seconds of silence.
 */
export async function until(
  condition: () => boolean | Promise<boolean>,
  options: { timeoutMs?: number; intervalMs?: number; what?: string } = {},
): Promise<void> {
  const { timeoutMs = 9000, intervalMs = 2, what = condition.toString() } = options
  const deadline = now() + timeoutMs
  while (!(await condition())) {
    if (now() > deadline) throw new Error(`still not true after ${timeoutMs} ms: ${what}`)
    await sleep(intervalMs)
  }
}
