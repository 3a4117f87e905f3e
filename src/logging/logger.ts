import { type Logger, pino, stdSerializers } from 'pino'
import { createFormatter, type LineFormat } from './formats.ts'
import { type LevelName, parseRecord } from './record.ts'

export interface LoggerOptions {
  /** The least important level that is written. */
  readonly level: LevelName | 'silent'
  /** `auto` is `pretty` on a terminal, else `text`. */
  readonly format: 'auto' | LineFormat
  /** Standard output where absent. */
  readonly destination?: NodeJS.WritableStream
  /** Whether the destination is a terminal. */
  readonly isTerminal: boolean
  /** Whether to colour `pretty`; as `isTerminal` where absent. */
  readonly colors?: boolean
}

/**
 * Makes the logger. Every event passes one point on its way out, which cleans keys, texts, errors and stacks of
 * credentials, and writes at once: nothing is lost when the process ends. An error is logged under `err`.
 */
export function createLogger(options: LoggerOptions): Logger {
  const { level, format, destination = process.stdout, isTerminal, colors = isTerminal } = options
  const chosen = format === 'auto' ? (isTerminal ? 'pretty' : 'text') : format
  const formatter = createFormatter(chosen, { colors })
  const stream = {
    write(line: string): void {
      destination.write(formatter(parseRecord(line)))
    },
  }
  return pino(
    { level, base: null, serializers: { err: stdSerializers.err, error: stdSerializers.err } },
    stream,
  )
}
