import type { Logger } from 'pino'
import type { Pull } from './pull.ts'

/** One line when a machine has pulled an image, or could not. A failure is loud, a client's own mistake is not. */
export function logPull(logger: Logger, { ms, outcome, reason, isRefusal, ...pull }: Pull): void {
  const fields = { ...pull, outcome, ms: Math.round(ms) }
  if (outcome === 'finished') logger.info(fields, 'pulled')
  else logger[outcome === 'failed' && !isRefusal ? 'warn' : 'info'](fields, `pull did not finish: ${reason}`)
}
