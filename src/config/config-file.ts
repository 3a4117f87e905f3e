import { readFile } from 'node:fs/promises'
import { dirname, join, relative, resolve } from 'node:path'
import { UnitError } from '../units/unit-error.ts'
import { fileFailure } from './file-failure.ts'
import type { LoadConfigOptions } from './load.ts'
import { ConfigError, type ConfigProblem } from './problems.ts'
import { keysAt, settingAt } from './settings.ts'
import { interpolate, textValue } from './text-value.ts'
import { dotted, isMap, type ValuePath } from './value-tree.ts'
import { readYaml, type YamlFile } from './yaml-file.ts'

/** A configuration file, ready for the checks. */
export interface ConfigFile {
  /** Absolute. */
  readonly path: string
  readonly yaml: YamlFile
  /** The values with `${...}` replaced, and without `x-*` keys. */
  readonly value: unknown
  readonly problems: readonly ConfigProblem[]
  /** Dotted paths whose `${...}` could not be replaced: reported already, and not worth a second complaint. */
  readonly unreplaced: ReadonlySet<string>
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
  const { environment, workingDirectory } = options
  const { paths, namedBy } = candidates(options)
  for (const path of paths) {
    const short = relative(workingDirectory, path)
    // As messages show it: relative where it lies in the working directory.
    const name = short === '' || short.startsWith('..') ? path : short
    const text = await readText(path, name, namedBy)
    if (text !== undefined) {
      const yaml = readYaml(text, name)
      return { file: { path, yaml, ...prepared(yaml, environment, dirname(path)) }, searched: paths }
    }
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

function prepared(
  yaml: YamlFile,
  environment: NodeJS.ProcessEnv,
  directory: string,
): Pick<ConfigFile, 'value' | 'problems' | 'unreplaced'> {
  const problems = [...yaml.problems]
  const unreplaced = new Set<string>()

  function prepare(value: unknown, path: ValuePath): unknown {
    if (Array.isArray(value)) return value.map((item, index) => prepare(item, [...path, index]))
    if (isMap(value)) {
      return Object.fromEntries(
        Object.entries(value).map(([key, below]) => [key, prepare(below, [...path, key])]),
      )
    }
    const setting = settingAt(path)
    if (typeof value !== 'string') return value
    if (!value.includes('${')) {
      if (setting?.type.secret) {
        const message = `${dotted(path)} in the file: prefer \${VARIABLE} or passwordFile`
        problems.push({ where: yaml.where(path, 'key'), severity: 'warning', message })
      }
      return value
    }
    try {
      const text = interpolate(value, environment, directory)
      return setting || keysAt(path).length > 0 ? textValue(text, setting) : text
    } catch (error) {
      if (!(error instanceof UnitError)) throw error
      const message = `${dotted(path)}: ${error.message}`
      problems.push({ where: yaml.where(path, 'value'), severity: 'error', message })
      unreplaced.add(dotted(path))
      // Text keeps its place, so that a username is not accused of having no password.
      return setting?.type.text && value
    }
  }

  const own = isMap(yaml.value) ? Object.entries(yaml.value).filter(([key]) => !key.startsWith('x-')) : []
  return { value: prepare(Object.fromEntries(own), []), problems, unreplaced }
}
