import { readFile } from 'node:fs/promises'
import { dirname, join, relative, resolve } from 'node:path'
import { fileFailure } from './file-failure.ts'
import { InterpolationError, interpolate } from './interpolate.ts'
import { ConfigError, type ConfigProblem } from './problems.ts'
import { isOwnPath } from './setting-types.ts'
import { keysAt, settingAt } from './settings.ts'
import { textValue } from './text-value.ts'
import { dotted, type ValuePath } from './value-tree.ts'
import { readYaml, type YamlFile } from './yaml-file.ts'

/** A configuration file, ready for the schema. */
export interface ConfigFile {
  /** Absolute. */
  readonly path: string
  /** The path as messages show it: relative where it lies in the working directory. */
  readonly name: string
  readonly yaml: YamlFile
  /** The values with `${...}` replaced, paths absolute, and without `x-*` keys. */
  readonly value: unknown
  readonly problems: readonly ConfigProblem[]
  /** Dotted paths whose `${...}` could not be replaced: reported already, and not worth a second complaint. */
  readonly unreplaced: ReadonlySet<string>
}

interface Surroundings {
  /** What `--config` says. */
  readonly file: string | undefined
  readonly environment: NodeJS.ProcessEnv
  readonly workingDirectory: string
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
  options: Surroundings,
): Promise<{ file: ConfigFile | undefined; searched: readonly string[] }> {
  const { environment, workingDirectory } = options
  const places = candidates(options)
  const searched = places.map(({ path }) => path)
  for (const { path, namedBy } of places) {
    const name = displayName(path, workingDirectory)
    const text = await readText(path, name, namedBy)
    if (text === undefined) continue
    const yaml = readYaml(text, name)
    const problems = [...yaml.problems]
    const unreplaced = new Set<string>()
    const value = await prepared(yaml, { environment, directory: dirname(path), problems, unreplaced })
    return { file: { path, name, yaml, value, problems, unreplaced }, searched }
  }
  return { file: undefined, searched }
}

function candidates(options: Surroundings): { path: string; namedBy: string | undefined }[] {
  const { file, environment, workingDirectory } = options
  if (file?.trim() === '') {
    const message = '--config: expected the path of a file; got nothing'
    throw new ConfigError([{ where: 'command line', severity: 'error', message }])
  }
  if (file !== undefined) return [{ path: resolve(workingDirectory, file), namedBy: '--config' }]
  const named = environment.MIRROR_CONFIG
  if (named) return [{ path: resolve(workingDirectory, named), namedBy: 'MIRROR_CONFIG' }]
  const home = environment.XDG_CONFIG_HOME || (environment.HOME && join(environment.HOME, '.config'))
  const paths = [resolve(workingDirectory, 'mirror.yml'), '/etc/larder/mirror.yml']
  if (home) paths.splice(1, 0, join(home, 'larder', 'mirror.yml'))
  return paths.map((path) => ({ path, namedBy: undefined }))
}

async function readText(
  path: string,
  name: string,
  namedBy: string | undefined,
): Promise<string | undefined> {
  try {
    const bytes = await readFile(path)
    if (bytes.length <= largestFile) return bytes.toString('utf8')
    throw new ConfigError([
      { where: name, severity: 'error', message: 'larger than 1 MiB: this is no configuration' },
    ])
  } catch (error) {
    if (error instanceof ConfigError) throw error
    const code = (error as NodeJS.ErrnoException).code
    if (namedBy === undefined && (code === 'ENOENT' || code === 'ENOTDIR')) return undefined
    const by = namedBy === undefined ? '' : ` (named by ${namedBy})`
    throw new ConfigError([{ where: name, severity: 'error', message: `${fileFailure(error)}${by}` }])
  }
}

function displayName(path: string, workingDirectory: string): string {
  const short = relative(workingDirectory, path)
  return short === '' || short.startsWith('..') ? path : short
}

interface Preparation {
  readonly environment: NodeJS.ProcessEnv
  readonly directory: string
  readonly problems: ConfigProblem[]
  readonly unreplaced: Set<string>
}

async function prepared(yaml: YamlFile, preparation: Preparation): Promise<unknown> {
  const { value } = yaml
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const own = Object.entries(value).filter(([key]) => !key.startsWith('x-'))
  return prepareValue(Object.fromEntries(own), [], yaml, preparation)
}

async function prepareValue(
  value: unknown,
  path: ValuePath,
  yaml: YamlFile,
  preparation: Preparation,
): Promise<unknown> {
  if (Array.isArray(value)) {
    const items: unknown[] = []
    for (const [index, item] of value.entries()) {
      items.push(await prepareValue(item, [...path, index], yaml, preparation))
    }
    return items
  }
  if (typeof value === 'object' && value !== null) {
    const entries: [string, unknown][] = []
    for (const [key, below] of Object.entries(value)) {
      entries.push([key, await prepareValue(below, [...path, key], yaml, preparation)])
    }
    return Object.fromEntries(entries)
  }
  return typeof value === 'string' ? prepareText(value, path, yaml, preparation) : value
}

async function prepareText(
  text: string,
  path: ValuePath,
  yaml: YamlFile,
  preparation: Preparation,
): Promise<unknown> {
  const setting = settingAt(path)
  if (setting?.type.secret && !text.includes('${')) {
    preparation.problems.push({
      where: yaml.where(path, 'key'),
      severity: 'warning',
      message: `${dotted(path)} in the file: prefer \${VARIABLE} or passwordFile`,
    })
  }
  const value = text.includes('${') ? await replaced(text, path, yaml, preparation) : text
  return setting?.type.path && typeof value === 'string' && isOwnPath(value)
    ? resolve(preparation.directory, value)
    : value
}

async function replaced(
  text: string,
  path: ValuePath,
  yaml: YamlFile,
  preparation: Preparation,
): Promise<unknown> {
  const setting = settingAt(path)
  try {
    const result = await interpolate(text, preparation)
    const isSettingOrSection = setting !== undefined || keysAt(path).length > 0
    return isSettingOrSection ? textValue(result, setting) : result
  } catch (error) {
    if (!(error instanceof InterpolationError)) throw error
    const message = `${dotted(path)}: ${error.message}`
    preparation.problems.push({ where: yaml.where(path, 'value'), severity: 'error', message })
    preparation.unreplaced.add(dotted(path))
    // Text keeps its place, so that a username is not accused of having no password.
    return setting !== undefined && setting.type.text !== 'yaml' ? text : undefined
  }
}
