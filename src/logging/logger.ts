import { type Logger, pino, symbols } from 'pino'
import { BoundedOutput } from './bounded-output.ts'
import { createFormatter, type LineFormat } from './formats.ts'
import { type Call, type LevelName, Recorder } from './record.ts'
import type { Serializers } from './redact.ts'

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
 * credentials, and writes at once: nothing is lost when the process ends, as long as somebody reads and `flush` is
 * called. Where nobody does, lines are dropped and counted. An error is logged under `err`.
 */
export function createLogger(options: LoggerOptions): Logger {
  const { level, format, destination = process.stdout, isTerminal, colors = isTerminal } = options
  const chosen = format === 'auto' ? (isTerminal ? 'pretty' : 'text') : format
  const formatter = createFormatter(chosen, { colors })
  const recorder = new Recorder()
  const line = (call: Call): string => formatter(recorder.record(call))
  const output = new BoundedOutput(destination, {
    lost: (lines) => line({ arguments: [{ lines }, lostLines], level: warning }),
  })
  const logger: Logger = pino(
    {
      level,
      base: null,
      hooks: {
        // In place of pino's own line, which would have to be read again to be cleaned and written in another format.
        logMethod(given, _, number) {
          const bindings = this === logger ? undefined : this.bindings()
          const { [symbols.serializersSym]: serializers } = this as unknown as WithSerializers
          output.write(line({ arguments: given, level: number, bindings, serializers }))
        },
      },
    },
    output,
  )
  return logger
}

/** Pino's number of it. */
const warning = 40
const lostLines = 'lines of the log are missing here: nobody read them, or they could not be written'

/** Fastify gives some to its loggers. */
interface WithSerializers {
  readonly [symbols.serializersSym]: Serializers
}
