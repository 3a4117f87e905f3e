import { dirname, isAbsolute, resolve } from 'node:path'
import { type ConfigFile, readConfigFile } from './config-file.ts'
import { readEnvironment } from './environment.ts'
import { locateAll, type Origin, Origins, type Override } from './origins.ts'
import { readPasswordFile } from './password-file.ts'
import { type Complaint, ConfigError, type ConfigProblem, complaintsOf, sortProblems } from './problems.ts'
import { type Config, configSchema } from './schema.ts'
import { type Setting, settingAt, settings } from './settings.ts'
import { defaultUpstreams } from './upstream-schema.ts'
import { dotted, type ValuePath, valueAt, withoutNulls, withValueAt } from './value-tree.ts'

/** A valid configuration and how it came about. */
export interface LoadedConfig {
  readonly config: Config
  /** The origin of every leaf that has a value, by dotted path (`upstreams.0.url`), in the order of the schema. */
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
 * Loads the configuration: flags before environment before file before defaults. Reads the file, the files that
 * `${file:...}`, `*_FILE` and `passwordFile` name, and nothing else. Throws ConfigError with every problem at once.
 */
export async function loadConfig(options: LoadConfigOptions): Promise<LoadedConfig> {
  const { environment, workingDirectory } = options
  const { file, searched } = await readConfigFile({ file: options.file, environment, workingDirectory })
  const fromEnvironment = await readEnvironment(environment, workingDirectory)
  const { merged, overrides } = merge(file, fromEnvironment.assignments, options)
  const origins = new Origins(merged, file, overrides)
  const early = [...(file?.problems ?? []), ...fromEnvironment.problems]
  const parsed = configSchema.safeParse(merged)
  if (!parsed.success) {
    const complaints = complaintsOf(parsed.error.issues).filter(
      ({ path }) => !file?.unreplaced.has(dotted(path)),
    )
    throw new ConfigError(locateAll(complaints, origins, [...early, ...reservedWarnings(origins)]))
  }
  const config = withDefaultPaths(parsed.data, file === undefined ? workingDirectory : dirname(file.path))
  const passwords = await readPasswords(config, origins, file?.unreplaced)
  const problems = sortProblems([...early, ...passwords.problems, ...reservedWarnings(origins)])
  if (problems.some(({ severity }) => severity === 'error')) throw new ConfigError(problems)
  return {
    config: passwords.config,
    origins: new Map(leafOrigins(passwords.config, origins)),
    file: file?.path,
    searched,
    warnings: problems,
  }
}

function merge(
  file: ConfigFile | undefined,
  assignments: readonly { path: ValuePath; value: unknown; variable: string }[],
  { overrides: flags = {}, workingDirectory }: LoadConfigOptions,
): { merged: unknown; overrides: Override[] } {
  let merged: unknown = withoutNulls(file?.value) ?? {}
  const overrides: Override[] = []
  const apply = (path: ValuePath, value: unknown, origin: Origin) => {
    // An entry of a list that nobody wrote down belongs to the default list.
    if (path[0] === 'upstreams' && path.length > 1 && valueAt(merged, ['upstreams']) === undefined) {
      merged = withValueAt(merged, ['upstreams'], defaultUpstreams)
    }
    merged = withValueAt(merged, path, absolutePaths(withoutNulls(value), path, workingDirectory))
    overrides.push({ path, origin })
  }
  for (const { path, value, variable } of assignments)
    apply(path, value, { source: 'environment', where: variable })
  for (const [name, value] of Object.entries(flags)) {
    if (value === undefined) continue
    const path = name.split('.').map((part) => (/^\d+$/.test(part) ? Number(part) : part))
    if (settingAt(path) === undefined && name !== 'upstreams') throw new TypeError(`${name} is no setting`)
    apply(path, value, { source: 'flag', where: undefined })
  }
  return { merged, overrides }
}

function absolutePaths(value: unknown, path: ValuePath, directory: string): unknown {
  if (Array.isArray(value))
    return value.map((item, index) => absolutePaths(item, [...path, index], directory))
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value)
    return Object.fromEntries(
      entries.map(([key, below]) => [key, absolutePaths(below, [...path, key], directory)]),
    )
  }
  return typeof value === 'string' && value.trim() !== '' && settingAt(path)?.type.path
    ? resolve(directory, value)
    : value
}

function withDefaultPaths(config: Config, directory: string): Config {
  // Only the default is relative still.
  const { dir } = config.storage
  return isAbsolute(dir)
    ? config
    : { ...config, storage: { ...config.storage, dir: resolve(directory, dir) } }
}

async function readPasswords(
  config: Config,
  origins: Origins,
  unreplaced: ReadonlySet<string> | undefined,
): Promise<{ config: Config; problems: ConfigProblem[] }> {
  const problems: ConfigProblem[] = []
  const upstreams: Config['upstreams'] = []
  for (const [index, upstream] of config.upstreams.entries()) {
    if (upstream.passwordFile === undefined || unreplaced?.has(`upstreams.${index}.passwordFile`)) {
      upstreams.push(upstream)
      continue
    }
    const { password, problem } = await readPasswordFile(upstream.passwordFile)
    upstreams.push({ ...upstream, password })
    if (problem) {
      const complaint: Complaint = {
        path: ['upstreams', index, 'passwordFile'],
        about: 'value',
        message: problem.message,
      }
      problems.push({ ...origins.locate(complaint), severity: problem.severity })
    }
  }
  return { config: { ...config, upstreams }, problems }
}

function reservedWarnings(origins: Origins): ConfigProblem[] {
  return settings.flatMap(({ path, type }): ConfigProblem[] => {
    const where = type.reserved === undefined ? undefined : origins.whereSet(path)
    if (where === undefined) return []
    const message = `${path.join('.')} has no effect yet: it takes effect with ${type.reserved}`
    return [{ where, severity: 'warning', message }]
  })
}

function* leafOrigins(config: Config, origins: Origins): Generator<[string, Origin]> {
  for (const setting of settings) {
    for (const path of concretePaths(setting, config)) {
      if (valueAt(config, path) === undefined && setting.default === undefined) continue
      // A password out of a file belongs to its passwordFile, and would contradict it if it were written down.
      const isFromFile = path.at(-1) === 'password' && valueAt(config, [...path.slice(0, -1), 'passwordFile'])
      if (!isFromFile) yield [dotted(path), origins.of(path)]
    }
  }
}

function concretePaths({ path }: Setting, config: Config): ValuePath[] {
  if (!path.includes('*')) return [path]
  return config.upstreams.map((_, index) => path.map((part) => (part === '*' ? index : part)))
}
