import { writeSync } from 'node:fs'
import { inspect } from 'node:util'
import { escapeText } from '../logging/escape.ts'
import { redactText } from '../logging/redact.ts'
import { exitCodes } from './exit-codes.ts'

const stderrDescriptor = 2

/**
 * Tells of an error that nothing has caught, or a rejection that nobody listens to, and returns the exit code: after it
 * nobody knows what still holds. What was acknowledged is on the disk, and what is on its way in goes on after the next
 * start. What to report is one line on stderr, without secrets, as journals and collectors take it.
 */
export function tellUncaught(error: unknown): number {
  const line = escapeText(redactText(inspect(error)))
  try {
    writeSync(
      stderrDescriptor,
      `larder: ended by an error that was not expected; nothing that was stored is lost. Please report this line: ${line}\n`,
    )
  } catch {
    // Nobody reads it.
  }
  return exitCodes.unexpected
}
