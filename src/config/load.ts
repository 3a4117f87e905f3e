import { dirname, resolve } from 'node:path'
import { dotted, pathOf, type ValuePath, valueAt } from '../yaml/value-tree.ts'
import { type Config, readConfig } from './config.ts'
import { readConfigFile } from './config-file.ts'
import { readEnvironment } from './environment.ts'
import { type Given, GivenValues, type Origin } from './given.ts'
import { readNamedFiles } from './named-files.ts'
import { type Complaint, ConfigError, type ConfigProblem, sortProblems } from './problems.ts'
import { lists, settingAt } from './settings.ts'
import { warningsOf } from './warnings.ts'

/** A valid configuration and how it came about. */
export interface LoadedConfig {
  readonly config: Config
  /** The origin of every leaf that has a value, by dotted path (`upstreams.0.url`): section by section. */
  readonly origins: ReadonlyMap<string, Origin>
  /** The configuration file, absolute; undefined where there is none. */
  readonly file: string | undefined
  /** Where it was looked for, absolute, in this order. */
  readonly searched: readonly string[]
  /** Worth telling, but no reason not to start. */
  readonly warnings: readonly ConfigProblem[]
}

export interface LoadConfigOptions {
  /** The file that `--config` names. */
  readonly file?: string | undefined
  readonly environment: NodeJS.ProcessEnv
  readonly workingDirectory: string
  /** Values of flags in the form of the file, by dotted path: `{ 'server.listen': ':8080' }`. Undefined ones count as absent. */
  readonly overrides?: Readonly<Record<string, unknown>>
}

/**
 * Loads the configuration: flags before environment before file before defaults. Reads the file and every
 * file that is named (`${file:...}`, `*_FILE`, passwords, certificates, keys, authorities), and nothing else. Throws ConfigError with every problem at once.
 */
export async function loadConfig(options: LoadConfigOptions): Promise<LoadedConfig> {
  const { environment, workingDirectory } = options
  const { file, searched } = await readConfigFile(options)
  const fromEnvironment = await readEnvironment(environment, workingDirectory)
  const flags = fromFlags(options.overrides ?? {})
  const given = new GivenValues([...(file?.given ?? []), ...fromEnvironment.given, ...flags])
  const complaints: Complaint[] = []
  const absolute = (path: ValuePath, value: string) => {
    const isOfFile = ['file', 'default'].includes(given.originAt(path).source)
    return resolve(isOfFile && file ? dirname(file.path) : workingDirectory, value)
  }
  const { config: whole, leaves } = readConfig(given.values, absolute, (path, message, isKey = false) => {
    complaints.push({ path, message, isKey })
  })
  // One complaint a setting: a value that cannot stay is not looked into.
  const refused = new Set(complaints.map(({ path }) => dotted(path)))
  const { config, complaints: ofFiles } = await readNamedFiles(whole, refused)
  const problems = sortProblems([
    ...(file?.problems ?? []),
    ...fromEnvironment.problems,
    ...[...ofFiles, ...warningsOf(whole), ...complaints].map((complaint) => given.locate(complaint)),
  ])
  if (problems.some(({ severity }) => severity === 'error')) throw new ConfigError(problems)
  // A password out of a file is not among them: it would contradict its passwordFile if it were written down.
  const present = leaves.filter((path) => {
    return valueAt(whole, path) !== undefined || settingAt(path)?.default !== undefined
  })
  const origins = new Map(present.map((path) => [dotted(path), given.originAt(path)]))
  return { config, origins, file: file?.path, searched, warnings: problems }
}

function fromFlags(flags: Readonly<Record<string, unknown>>): Given[] {
  const set = Object.entries(flags).filter(([, value]) => value !== undefined)
  return set.map(([name, value]) => {
    const path = pathOf(name)
    if (settingAt(path) === undefined && !(name in lists)) throw new TypeError(`${name} is no setting`)
    return { path, value, source: 'flag', where: undefined }
  })
}
