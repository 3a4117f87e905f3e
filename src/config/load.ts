import { dirname, isAbsolute, resolve } from 'node:path'
import { type ConfigFile, readConfigFile } from './config-file.ts'
import { readEnvironment } from './environment.ts'
import { readNamedFiles } from './named-files.ts'
import { locateAll, type Origin, Origins, type Override } from './origins.ts'
import { ConfigError, type ConfigProblem, complaintsOf, sortProblems } from './problems.ts'
import { type Config, configSchema } from './schema.ts'
import { isOwnPath } from './setting-types.ts'
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
 * Loads the configuration: flags before environment before file before defaults. Reads the file and every
 * file that is named (`${file:...}`, `*_FILE`, passwords, certificates, keys, authorities), and nothing else. Throws ConfigError with every problem at once.
 */
export async function loadConfig(options: LoadConfigOptions): Promise<LoadedConfig> {
  const { environment, workingDirectory } = options
  const { file, searched } = await readConfigFile({ file: options.file, environment, workingDirectory })
  const fromEnvironment = await readEnvironment(environment, workingDirectory)
  const { merged, overrides } = merge(file, fromEnvironment.assignments, options)
  const origins = new Origins(merged, file, overrides)
  const parsed = configSchema.safeParse(merged)
  const complaints = complaintsOf(parsed.error?.issues ?? []).filter(
    ({ path }) => !file?.unreplaced.has(dotted(path)),
  )
  // One complaint a setting: a value that cannot stay is not looked into.
  const ignored = new Set([...(file?.unreplaced ?? []), ...complaints.map(({ path }) => dotted(path))])
  const files = await readNamedFiles(merged, ignored)
  const early = [
    ...[...(file?.problems ?? []), ...fromEnvironment.problems, ...reservedProblems(merged, origins)],
    ...files.findings.map(({ path, severity, message }): ConfigProblem => {
      return { ...origins.locate({ path, about: 'value', message }), severity }
    }),
  ]
  if (!parsed.success) throw new ConfigError(locateAll(complaints, origins, early))
  const problems = sortProblems(early)
  if (problems.some(({ severity }) => severity === 'error')) throw new ConfigError(problems)
  const directory = file === undefined ? workingDirectory : dirname(file.path)
  const config = withPasswords(withDefaultPaths(parsed.data, directory), files.passwords)
  return {
    config,
    origins: new Map(leafOrigins(config, origins)),
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
  return typeof value === 'string' && isOwnPath(value) && settingAt(path)?.type.path
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

function withPasswords(config: Config, passwords: ReadonlyMap<number, string>): Config {
  const upstreams = config.upstreams.map((upstream, index) =>
    passwords.has(index) ? { ...upstream, password: passwords.get(index) } : upstream,
  )
  return { ...config, upstreams }
}

/** What waits for a later version: worth a warning, but an error where somebody would rely on a protection. */
function reservedProblems(values: unknown, origins: Origins): ConfigProblem[] {
  return settings.flatMap(({ path, type }): ConfigProblem[] => {
    const where = type.reserved === undefined ? undefined : origins.whereSet(path)
    if (where === undefined) return []
    const unprotected = type.unprotected(valueAt(values, path))
    if (unprotected !== undefined) {
      return [origins.locate({ path, about: 'value', message: unprotected })]
    }
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
