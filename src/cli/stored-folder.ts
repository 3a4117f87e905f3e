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

interface FolderCommand {
  readonly name: string
  readonly description: string
  /** See `CommandLine`: it may run for hours. */
  readonly onStarted?: (() => void) | undefined
}

/** Adds a command on a data folder, with the options that all of these have. */
export function folderCommand(program: Command, { name, description, onStarted }: FolderCommand): Command {
  return program
    .command(name)
    .description(description)
    .option('-c, --config <file>', 'the configuration file')
    .option('--data <folder>', 'the data folder (storage.dir)')
    .option('--json', 'print one JSON document')
    .allowExcessArguments(false)
    .hook('preAction', () => onStarted?.())
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
