import { readFile } from 'node:fs/promises'
import { Command, CommanderError } from 'commander'
import { ConfigError } from '../config/problems.ts'
import type { CommandLine } from './command-line.ts'
import { configCommand, problemLines } from './config.ts'
import { serve } from './serve.ts'

/** The contract with scripts: docs/operating.md, "Exit codes". */
const exitCodes = { done: 0, unexpected: 1, usage: 2, configuration: 3, storage: 8, refused: 11 } as const

/**
 * Runs `larder` and resolves with its exit code; every failure is told on stderr: what, why, and what to do.
 * Without a command it serves.
 */
export async function larder(line: CommandLine): Promise<number> {
  let exitCode: number = exitCodes.done
  const version = await readVersion()
  const program = new Command('larder')
    .description('a pull-through mirror of Docker Hub and other OCI registries for slow networks')
    .version(version, '--version', 'print the version')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => line.stdout.write(text),
      writeErr: (text) => line.stderr.write(text),
    })
  program
    .command('serve', { isDefault: true })
    .description('run the mirror (the default)')
    .option('-c, --config <file>', 'the configuration file')
    .option('--listen <address>', 'where to listen, such as :5000 (server.listen)')
    .option('--data <folder>', 'where to keep everything (storage.dir)')
    .allowExcessArguments(false)
    .action((options) => serve(line, { ...options, version }))
  const setExitCode = (code: number): void => {
    exitCode = code
  }
  program.addCommand(configCommand({ ...line, setExitCode }))
  program
    .command('version')
    .description('print the version')
    .action(() => void line.stdout.write(`${version}\n`))
  try {
    await program.parseAsync([...line.arguments], { from: 'user' })
    return exitCode
  } catch (error) {
    return tellFailure(error, line)
  }
}

function tellFailure(error: unknown, { stderr, environment }: CommandLine): number {
  // Commander has printed it; --help and --version end here too.
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.usage
  if (error instanceof ConfigError) {
    stderr.write(problemLines(error.problems))
    return exitCodes.configuration
  }
  const message = error instanceof Error ? error.message : String(error)
  stderr.write(`larder: ${message}\n`)
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (isHinted(code)) {
    stderr.write(`${hints[code]}\n`)
    return exitCodes.refused
  }
  if (/^(?:ENOSPC|EROFS|EIO|EDQUOT|ENOTDIR|EEXIST|EPERM|ERR_SQLITE_ERROR)$/.test(code)) {
    stderr.write(
      'The data folder (storage.dir) cannot be used: free or repair that disk, or set another folder.\n',
    )
    return exitCodes.storage
  }
  if (environment.LARDER_DEBUG && error instanceof Error) stderr.write(`${error.stack}\n`)
  return exitCodes.unexpected
}

function isHinted(code: string): code is keyof typeof hints {
  return code in hints
}

const hints = {
  EADDRINUSE: 'Another program listens there: stop it, or set server.listen (or --listen) to another port.',
  EACCES: 'It is not allowed: choose a port above 1023 or a folder that this user may write to.',
  EADDRNOTAVAIL: 'No network card of this machine has that address: see server.listen (or --listen).',
  ENOTFOUND: 'That name has no address: see server.listen (or --listen).',
  LOCKED: 'One process a folder.',
} as const

/** The version in package.json, which lies above both src/ and dist/. */
async function readVersion(): Promise<string> {
  const text = await readFile(new URL('../../package.json', import.meta.url), 'utf8')
  return String(JSON.parse(text).version)
}
