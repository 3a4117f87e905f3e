import { Occasionally } from './occasionally.ts'

/** What a line says beside its words; `err`: why. */
type Fields = Readonly<Record<string, unknown>>

/** Who writes it. */
interface Log {
  warn(fields: Fields, message: string): void
  error(fields: Fields, message: string): void
}

interface Lines {
  readonly occasionally: Occasionally
  /** How often each has happened since it was told of. */
  readonly untold: Map<string, number>
}

const linesOf = new WeakMap<Log, Lines>()

/**
 * Tells in the log of what may happen again and again, such as what a full disk refuses: once a minute at most for each
 * message, with how often it has happened since the last line (`times`); whoever else tells of it by the same logger
 * counts as well.
 */
export function tellSeldom(log: Log, level: 'warn' | 'error', fields: Fields, message: string): void {
  const lines = linesOf.get(log) ?? { occasionally: new Occasionally(), untold: new Map() }
  linesOf.set(log, lines)
  lines.untold.set(message, (lines.untold.get(message) ?? 0) + 1)
  lines.occasionally.do(message, () => {
    const times = lines.untold.get(message)
    lines.untold.delete(message)
    log[level]({ ...fields, times }, message)
  })
}
