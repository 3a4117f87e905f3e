import { Command } from 'commander'
import { variableName } from '../config/environment.ts'
import type { Origin } from '../config/given.ts'
import { type LoadedConfig, loadConfig } from '../config/load.ts'
import { ConfigError, type ConfigProblem } from '../config/problems.ts'
import { keysAt, lists, settingAt, settings } from '../config/settings.ts'
import { pathOf, put, valueAt } from '../yaml/value-tree.ts'
import { exitCodes } from './exit-codes.ts'

/** What a command sees of the process. */
export interface ConfigCommandIo {
  readonly stdout: NodeJS.WritableStream
  readonly stderr: NodeJS.WritableStream
  readonly environment: NodeJS.ProcessEnv
  readonly workingDirectory: string
  /** Called once, with 3 (invalid configuration) or 12 (warnings under --strict); never called for 0. */
  setExitCode(code: number): void
}

/**
 * `larder config check | show | schema | env`. Results go to stdout, the reason of a failure to stderr. Wrong usage
 * throws commander's CommanderError, after it has been printed; whoever parses maps it to 2 (0 for --help).
 */
export function configCommand(io: ConfigCommandIo): Command {
  const command = new Command('config').description('check and show the configuration')
  command.exitOverride().configureOutput({
    writeOut: (text) => io.stdout.write(text),
    writeErr: (text) => io.stderr.write(text),
  })
  subcommand(command, 'check')
    .description('find everything that is wrong with the configuration')
    .option('-c, --config <file>', 'the file to check')
    .option('--strict', `exit with ${exitCodes.warnings} where there are warnings`)
    .option('--json', 'print one JSON document')
    .action((_options, self: Command) => check(io, self.optsWithGlobals()))
  subcommand(command, 'show')
    .description('print the configuration in force, and where each value comes from; secrets are hidden')
    .option('-c, --config <file>', 'the file to read')
    .option('--json', 'print one JSON document')
    .action((_options, self: Command) => show(io, self.optsWithGlobals()))
  subcommand(command, 'schema')
    .description('print the JSON Schema of mirror.yml, for editors')
    .action(async () => {
      const { configJsonSchemaText } = await import('./config-schema.ts')
      io.stdout.write(configJsonSchemaText())
    })
  subcommand(command, 'env')
    .description('list the environment variables')
    .action(() => void io.stdout.write(variableTable()))
  return command
}

interface Options {
  readonly config?: string
  readonly json?: boolean
  readonly strict?: boolean
}

function subcommand(parent: Command, name: string): Command {
  // Settings are inherited by `command()`, not by `addCommand()`.
  return parent.command(name).allowExcessArguments(false)
}

async function check(io: ConfigCommandIo, options: Options): Promise<void> {
  const { loaded, problems } = await attempt(io, options)
  const errors = problems.filter(({ severity }) => severity === 'error').length
  const warnings = problems.length - errors
  if (options.json) {
    const document = {
      schema: 'larder.config-check/v1',
      file: loaded?.file ?? null,
      searched: loaded?.searched ?? null,
      errors,
      warnings,
      problems,
    }
    io.stdout.write(`${JSON.stringify(document)}\n`)
  } else {
    io.stdout.write(problemLines(problems))
    io.stdout.write(`${errors + warnings === 0 ? 'ok: ' : ''}${summary(errors, warnings, loaded)}\n`)
  }
  if (errors > 0) io.setExitCode(exitCodes.configuration)
  else if (warnings > 0 && options.strict) io.setExitCode(exitCodes.warnings)
}

async function show(io: ConfigCommandIo, options: Options): Promise<void> {
  const { loaded, problems } = await attempt(io, options)
  if (loaded === undefined) {
    io.stderr.write(problemLines(problems))
    io.setExitCode(exitCodes.configuration)
    return
  }
  let values: unknown = {}
  for (const name of loaded.origins.keys()) {
    const path = pathOf(name)
    const value = valueAt(loaded.config, path)
    values = put(values, path, settingAt(path)?.type.show?.(value) ?? value)
  }
  if (options.json) {
    const origins = Object.fromEntries(loaded.origins)
    const { file = null, searched } = loaded
    const document = { schema: 'larder.config/v1', file, searched, config: values, origins }
    io.stdout.write(`${JSON.stringify(document)}\n`)
    return
  }
  const comments = new Map(
    [...loaded.origins].map(([name, { source, where }]) => {
      return [name, source === 'environment' ? `${where} (environment)` : (where ?? source)]
    }),
  )
  const { withComments } = await import('../yaml/write-yaml.ts')
  io.stdout.write(
    `# ${loaded.file ?? `no configuration file: looked for ${loaded.searched.join(', ')}`}\n${withComments(values, comments)}`,
  )
}

async function attempt(
  io: ConfigCommandIo,
  options: Options,
): Promise<{ loaded: LoadedConfig | undefined; problems: readonly ConfigProblem[] }> {
  const { environment, workingDirectory } = io
  try {
    const loaded = await loadConfig({ file: options.config, environment, workingDirectory })
    return { loaded, problems: loaded.warnings }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return { loaded: undefined, problems: error.problems }
  }
}

/** One line a problem, in three columns. */
export function problemLines(problems: readonly ConfigProblem[]): string {
  const width = Math.max(0, ...problems.map(({ where }) => where.length))
  const lines = problems.map(({ where, severity, message }) => {
    return `${where.padEnd(width)}  ${severity === 'error' ? 'error' : 'warn '}  ${printable(message)}\n`
  })
  return lines.join('')
}

function summary(errors: number, warnings: number, loaded: LoadedConfig | undefined): string {
  const count = (number: number, word: string) => `${number} ${word}${number === 1 ? '' : 's'}`
  if (errors + warnings > 0) {
    const parts = [errors > 0 ? count(errors, 'error') : '', warnings > 0 ? count(warnings, 'warning') : '']
    return parts.filter((part) => part !== '').join(', ')
  }
  const sources = [...(loaded?.origins.values() ?? [])].map(({ source }) => source)
  const from = (source: Origin['source']) => sources.filter((one) => one === source).length
  const counts = `${count(from('default'), 'default')}, ${from('file')} from file, ${from('environment')} from environment`
  const search = loaded?.file === undefined ? `\nlooked for ${loaded?.searched.join(', ')}` : ''
  return `${loaded?.file ?? 'no configuration file'} (${counts})${search}`
}

function variableTable(): string {
  const rows = [
    ['VARIABLE', 'DEFAULT', 'MEANING'],
    ['MIRROR_CONFIG', '', 'The configuration file; a named file must exist.'],
    ...settings.flatMap(({ path, default: value, description }) => {
      const row = [variableName(path), shownDefault(value), description]
      const parent = path.slice(0, path.indexOf('*'))
      const list = lists[parent.join('.')]
      if (list === undefined || keysAt([...parent, 0])[0] !== path.at(-1)) return [row]
      return [[variableName(parent), shownDefault(list.default), 'The whole list, as YAML.'], row]
    }),
  ]
  const widths = [0, 1].map((column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
  return `${lines.join('\n')}\n\nValues are YAML. With _FILE at its end a variable names a file that holds the value.\n`
}

function shownDefault(value: unknown): string {
  return value === undefined ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value)
}

/** Keys of a file may hold control characters, which a terminal would obey. */
function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (character) => {
    return `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`
  })
}
