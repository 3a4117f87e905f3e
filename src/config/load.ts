import { dirname, resolve } from 'node:path'
import { type Config, readConfig } from './config.ts'
import { type ConfigFile, readConfigFile } from './config-file.ts'
import { type Assignment, readEnvironment } from './environment.ts'
import { readNamedFiles } from './named-files.ts'
import { type Origin, Origins, type Override } from './origins.ts'
import { ConfigError, type ConfigProblem, sortProblems } from './problems.ts'
import { lists, settingAt, settings } from './settings.ts'
import { dotted, pathOf, type ValuePath, valueAt, withoutNulls, withValueAt } from './value-tree.ts'

/** A valid configuration and how it came about. */
export interface LoadedConfig {
  readonly config: Config
  /** The origin of every leaf that has a value, by dotted path (`upstreams.0.url`), in the order of the table. */
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
  const { merged, overrides } = merge(file, fromEnvironment.assignments, options.overrides ?? {})
  const origins = new Origins(merged, file, overrides)
  const read = readConfig(merged, (path, value) => {
    const isOverride = ['environment', 'flag'].includes(origins.of(path).source)
    return resolve(file === undefined || isOverride ? workingDirectory : dirname(file.path), value)
  })
  const complaints = read.complaints.filter(({ path }) => !file?.unreplaced.has(dotted(path)))
  // One complaint a setting: a value that cannot stay is not looked into.
  const ignored = new Set([...(file?.unreplaced ?? []), ...complaints.map(({ path }) => dotted(path))])
  const { config, findings } = await readNamedFiles(read.config, ignored)
  const problems = sortProblems([
    ...(file?.problems ?? []),
    ...fromEnvironment.problems,
    ...reservedProblems(origins),
    ...findings.map(({ path, severity, message }) => ({
      ...origins.locate({ path, about: 'value', message }),
      severity,
    })),
    ...complaints.map((complaint) => origins.locate(complaint)),
  ])
  if (problems.some(({ severity }) => severity === 'error')) throw new ConfigError(problems)
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
  assignments: readonly Assignment[],
  flags: Readonly<Record<string, unknown>>,
): { merged: unknown; overrides: Override[] } {
  let merged: unknown = withoutNulls(file?.value) ?? {}
  const overrides: Override[] = []
  const apply = (path: ValuePath, value: unknown, origin: Origin) => {
    // An entry of a list that nobody wrote down belongs to the default list.
    const list = path.slice(0, 1)
    const standard = lists[dotted(list)]?.default
    if (standard && path.length > 1 && valueAt(merged, list) === undefined)
      merged = withValueAt(merged, list, standard)
    merged = withValueAt(merged, path, withoutNulls(value))
    overrides.push({ path, origin })
  }
  for (const { path, value, variable } of assignments) {
    apply(path, value, { source: 'environment', where: variable })
  }
  for (const [name, value] of Object.entries(flags)) {
    if (value === undefined) continue
    const path = pathOf(name)
    if (settingAt(path) === undefined && !(name in lists)) throw new TypeError(`${name} is no setting`)
    apply(path, value, { source: 'flag', where: undefined })
  }
  return { merged, overrides }
}

/** What waits for a later version: worth a warning, but an error where somebody would rely on a protection. */
function reservedProblems(origins: Origins): ConfigProblem[] {
  return settings.flatMap(({ path, type }): ConfigProblem[] => {
    const where = type.reserved === undefined ? undefined : origins.whereSet(path)
    if (where === undefined) return []
    const { unprotected } = type
    if (unprotected !== undefined) return [origins.locate({ path, about: 'value', message: unprotected })]
    const message = `${dotted(path)} has no effect yet: it takes effect with ${type.reserved}`
    return [{ where, severity: 'warning', message }]
  })
}

function* leafOrigins(config: Config, origins: Origins): Generator<[string, Origin]> {
  for (const setting of settings) {
    const star = setting.path.indexOf('*')
    const entries = (valueAt(config, setting.path.slice(0, star)) ?? []) as unknown[]
    const paths =
      star < 0 ? [setting.path] : entries.map((_, index) => (setting.path as ValuePath).with(star, index))
    for (const path of paths) {
      if (valueAt(config, path) === undefined && setting.default === undefined) continue
      // A password out of a file belongs to its passwordFile, and would contradict it if it were written down.
      const isFromFile = path.at(-1) === 'password' && valueAt(config, [...path.slice(0, -1), 'passwordFile'])
      if (!isFromFile) yield [dotted(path), origins.of(path)]
    }
  }
}
