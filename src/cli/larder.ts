import { readFile } from 'node:fs/promises'
import { Command } from 'commander'
import { searchPath } from '../config/config-file.ts'
import { suggest } from '../units/suggestion.ts'
import type { CommandLine } from './command-line.ts'
import { configCommand } from './config.ts'
import { exitCodes } from './exit-codes.ts'
import { tellFailure } from './failure.ts'
import { addRebuild } from './rebuild.ts'
import { serve } from './serve.ts'
import { addVerify } from './verify.ts'

const help = `
Without a command it serves; "larder serve --help" tells how. The configuration is what --config names, else
what MIRROR_CONFIG names, else the first that exists of
${searchPath.map((place) => `  ${place}\n`).join('')}`

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
    .addHelpText('after', help)
  const commands = () => program.commands.map((command) => command.name())
  program
    .command('serve', { isDefault: true })
    .description('run the mirror (the default)')
    .option('-c, --config <file>', 'the configuration file')
    .option('--listen <address>', 'where to listen, such as :5000 (server.listen)')
    .option('--data <folder>', 'where to keep everything (storage.dir)')
    // Its words are looked at below: "larder serv" reaches it too, being the default.
    .allowExcessArguments(true)
    .action(async (options, self: Command) => {
      const [stray] = self.args
      if (stray !== undefined)
        self.error(`error: unexpected argument '${stray}'${hintFor(stray, commands())}`)
      await serve(line, { ...options, version })
    })
  const setExitCode = (code: number): void => {
    exitCode = code
  }
  program.addCommand(configCommand({ ...line, setExitCode }))
  addRebuild(program, { ...line, setExitCode })
  addVerify(program, { ...line, version, setExitCode })
  program
    .command('version')
    .description('print the version')
    .action(() => void line.stdout.write(`${version}\n`))
  try {
    const [first] = line.arguments
    const isWord = first !== undefined && !first.startsWith('-')
    // Before anything else: the options of a command that does not exist are not what is wrong.
    if (isWord && ![...commands(), 'help'].includes(first))
      program.error(`error: unknown command '${first}'${hintFor(first, commands())}`)
    await program.parseAsync([...line.arguments], { from: 'user' })
    return exitCode
  } catch (error) {
    return await tellFailure(error, line)
  }
}

/** What may have been meant by a word that is no command. */
function hintFor(word: string, commands: readonly string[]): string {
  const near = suggest(word, commands)
  if (near !== undefined) return `\n(Did you mean ${near}?)`
  return /[./]/.test(word)
    ? `: a configuration is named by --config ${word}`
    : `: the commands are ${commands.join(', ')}`
}

/** The version in package.json, which lies above both src/ and dist/. */
async function readVersion(): Promise<string> {
  const text = await readFile(new URL('../../package.json', import.meta.url), 'utf8')
  return String(JSON.parse(text).version)
}
