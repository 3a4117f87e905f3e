import type { Command } from 'commander'
import type { Logger } from 'pino'
import type { Config } from '../config/config.ts'
import { loadConfig } from '../config/load.ts'
import { createLogger } from '../logging/logger.ts'
import { type ConfigCommandIo, problemLines } from './config.ts'

/** What every command on a data folder can be told. */
export interface FolderOptions {
  readonly config?: string
  readonly data?: string
  readonly json?: boolean
}

/** Adds a command on a data folder, with the options that all of these have. */
export function folderCommand(program: Command, name: string, description: string): Command {
  return program
    .command(name)
    .description(description)
    .option('-c, --config <file>', 'the configuration file')
    .option('--data <folder>', 'the data folder (storage.dir)')
    .option('--json', 'print one JSON document')
    .allowExcessArguments(false)
}

/** The configuration, warnings about which go to stderr as the log does: stdout is for the result. Throws ConfigError. */
export async function configFor(
  { environment, workingDirectory, stderr }: ConfigCommandIo,
  options: FolderOptions,
): Promise<{ readonly config: Config; readonly logger: Logger }> {
  const overrides = { 'storage.dir': options.data }
  const loaded = await loadConfig({ file: options.config, environment, workingDirectory, overrides })
  stderr.write(problemLines(loaded.warnings))
  const { config } = loaded
  return { config, logger: createLogger({ ...config.log, destination: stderr, isTerminal: false }) }
}
