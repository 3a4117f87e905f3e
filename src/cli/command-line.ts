import type { ConfigCommandIo } from './config.ts'

/** What the program sees of the process. */
export interface CommandLine extends Omit<ConfigCommandIo, 'setExitCode'> {
  /** Without the interpreter and the script. */
  readonly arguments: readonly string[]
  /** Aborts when the process is asked to stop. */
  readonly stop: AbortSignal
  /** Called once all is loaded and what has to be done once is done. */
  readonly onStarted?: () => void
}
