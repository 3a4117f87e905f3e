import { readFile } from 'node:fs/promises'
import { dirname, join, relative, resolve } from 'node:path'
import { fileFailure } from '../units/file-failure.ts'
import { UnitError } from '../units/unit-error.ts'
import { readYaml, type YamlFile, type YamlValue } from '../yaml/read-yaml.ts'
import { dotted, isMap } from '../yaml/value-tree.ts'
import type { Given } from './given.ts'
import type { LoadConfigOptions } from './load.ts'
import { ConfigError, type ConfigProblem } from './problems.ts'
import { keysAt, settingAt } from './settings.ts'
import { interpolate, textValue } from './text-value.ts'

/** A configuration file, ready for the checks. */
export interface ConfigFile {
  /** Absolute. */
  readonly path: string
  /** With `${...}` replaced, and without `x-*` keys. */
  readonly given: readonly Given[]
  readonly problems: readonly ConfigProblem[]
}

/** Bytes; a larger file is no configuration. */
const largestFile = 1_048_576

/** Where the configuration file is looked for, as people read it: the first that exists is taken. */
export const searchPath: readonly string[] = [
  './mirror.yml',
  '$XDG_CONFIG_HOME/larder/mirror.yml (~/.config/larder/mirror.yml where that is unset)',
  '/etc/larder/mirror.yml',
]

/**
 * Finds and reads the configuration file: `--config`, MIRROR_CONFIG, else the first of the search path. `file` is
 * undefined where none exists; `searched` are the absolute paths that were tried. Throws ConfigError where one was
 * named and is missing, or exists and cannot be read.
 */
export async function readConfigFile(
  options: LoadConfigOptions,
): Promise<{ file: ConfigFile | undefined; searched: readonly string[] }> {
  const { paths, namedBy } = candidates(options)
  for (const path of paths) {
    const short = relative(options.workingDirectory, path)
    // As messages show it: relative where it lies in the working directory.
    const name = short === '' || short.startsWith('..') ? path : short
    const text = await readText(path, name, namedBy)
    if (text === undefined) continue
    return { file: { path, ...given(readYaml(text, name), path, options.environment) }, searched: paths }
  }
  return { file: undefined, searched: paths }
}

function candidates(options: LoadConfigOptions): { paths: string[]; namedBy?: string } {
  const { file, environment, workingDirectory } = options
  if (file?.trim() === '') throw invalid('command line', '--config: expected the path of a file; got nothing')
  if (file !== undefined) return { paths: [resolve(workingDirectory, file)], namedBy: '--config' }
  const named = environment.MIRROR_CONFIG
  if (named) return { paths: [resolve(workingDirectory, named)], namedBy: 'MIRROR_CONFIG' }
  const home = environment.XDG_CONFIG_HOME || (environment.HOME && join(environment.HOME, '.config'))
  const ofUser = home ? [join(home, 'larder', 'mirror.yml')] : []
  return { paths: [resolve(workingDirectory, 'mirror.yml'), ...ofUser, '/etc/larder/mirror.yml'] }
}

async function readText(
  path: string,
  name: string,
  namedBy: string | undefined,
): Promise<string | undefined> {
  const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (namedBy === undefined && (error.code === 'ENOENT' || error.code === 'ENOTDIR')) return undefined
    throw invalid(name, fileFailure(error) + (namedBy === undefined ? '' : ` (named by ${namedBy})`))
  })
  if (bytes && bytes.length > largestFile) throw invalid(name, 'larger than 1 MiB: this is no configuration')
  return bytes?.toString('utf8')
}

function invalid(where: string, message: string): ConfigError {
  return new ConfigError([{ where, severity: 'error', message }])
}

/** What a file gives that lies at a path. */
function given(yaml: YamlFile, file: string, environment: NodeJS.ProcessEnv): Omit<ConfigFile, 'path'> {
  const problems = yaml.problems.map((one): ConfigProblem => ({ ...one, severity: 'error' }))
  const [whole] = yaml.values
  if (whole && whole.value !== null && !isMap(whole.value)) {
    const message = 'expected settings such as "cache: {maxSize: 50GB}"'
    return { given: [], problems: [...problems, { where: whole.at, severity: 'error', message }] }
  }
  const own = yaml.values.filter(({ path: [first = 'x-'] }) => !String(first).startsWith('x-'))
  const values = own.map((one): Given => {
    return { ...one, value: filledIn(one, environment, dirname(file)), source: 'file' }
  })
  return { given: values, problems: [...problems, ...own.flatMap(warningOfSecret)] }
}

/** The value with its `${...}` replaced; the error where that cannot be done, for whoever reads the setting. */
function filledIn({ path, value }: YamlValue, environment: NodeJS.ProcessEnv, directory: string): unknown {
  if (!hasReference(value)) return value
  try {
    const text = interpolate(value, environment, directory)
    const setting = settingAt(path)
    return setting || keysAt(path).length > 0 ? textValue(text, setting) : text
  } catch (error) {
    if (error instanceof UnitError) return error
    throw error
  }
}

function warningOfSecret({ path, value, where }: YamlValue): ConfigProblem[] {
  if (!settingAt(path)?.type.secret || typeof value !== 'string' || hasReference(value)) return []
  const message = `${dotted(path)} in the file: prefer \${VARIABLE} or passwordFile`
  return [{ where, severity: 'warning', message }]
}

function hasReference(value: unknown): value is string {
  return typeof value === 'string' && value.includes('${')
}
