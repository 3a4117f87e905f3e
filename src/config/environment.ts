import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { registryAt } from '../names/upstream-url.ts'
import { fileFailure } from '../units/file-failure.ts'
import { squash, suggest } from '../units/suggestion.ts'
import { dotted, pathOf, type ValuePath } from '../yaml/value-tree.ts'
import type { Given } from './given.ts'
import type { ConfigProblem } from './problems.ts'
import { lists, settingAt, settings } from './settings.ts'
import { textValue, withoutFinalNewline } from './text-value.ts'

const prefix = 'MIRROR_'
const reservedNames = new Set(['MIRROR_CONFIG', 'MIRROR_URL', 'MIRROR_TOKEN'])

// What Kubernetes injects for a Service called "mirror", and what Docker's old links do.
const injected =
  /^MIRROR_(?:SERVICE_HOST|SERVICE_PORT(?:_.*)?|PORT|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?|NAME|ENV_.*)$/
// The same for a Service called "mirror-something". The value tells it from a mistyped setting.
const injectedForOthers =
  /^MIRROR_.*_(?:SERVICE_HOST|SERVICE_PORT(?:_.*)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)$/
const injectedValue = /^(?:(?:tcp|udp|sctp):\/\/.*|[0-9a-f:.]+|tcp|udp|sctp)$/i

const paths: readonly ValuePath[] = [...Object.keys(lists).map(pathOf), ...settings.map(({ path }) => path)]
const bySquashedName = new Map(paths.map((path) => [squash(path.join('')), path]))

/** What people set for the `registry:2` image as a proxy: what it sets here, and what to write instead. */
const legacy = [
  ['REGISTRY_HTTP_ADDR', 'server.listen', 'server.listen'],
  ['REGISTRY_PROXY_REMOTEURL', 'upstreams', 'upstreams.0.url'],
  ['REGISTRY_PROXY_USERNAME', 'upstreams.0.username', 'upstreams.0.username'],
  ['REGISTRY_PROXY_PASSWORD', 'upstreams.0.password', 'upstreams.0.passwordFile'],
] as const

/** The variable that sets a setting: `MIRROR_CACHE_MAX_SIZE`; `MIRROR_UPSTREAMS_0_URL` for an entry of the list. */
export function variableName(path: ValuePath): string {
  const parts = path.map((part) => String(part).replace('*', '0').replaceAll(/[A-Z]/g, '_$&').toUpperCase())
  return prefix + parts.join('_')
}

/**
 * Reads the variables that set something, lists before their entries. Names are matched without case and
 * underscores after `MIRROR_`; `_FILE` at the end reads the value from a file, relative to `workingDirectory`.
 * An unknown `MIRROR_*` is a problem, unless Kubernetes or Docker put it there. Those of `registry:2` are taken over
 * with a warning; a setting of our own wins over them.
 */
export async function readEnvironment(
  environment: NodeJS.ProcessEnv,
  workingDirectory: string,
): Promise<{ given: Given[]; problems: ConfigProblem[] }> {
  const own = new Map<string, Given>()
  const problems: ConfigProblem[] = []
  const report = (message: string, severity: ConfigProblem['severity'] = 'error') => {
    problems.push({ where: 'environment', severity, message })
  }
  const given = (path: ValuePath, value: unknown, variable: string): Given => {
    return { path, value, source: 'environment', where: variable }
  }
  for (const [variable, text] of Object.entries(environment)) {
    if (!variable.startsWith(prefix) || text === undefined || reservedNames.has(variable)) continue
    const squashed = squash(variable.slice(prefix.length))
    const direct = settingNamed(squashed)
    const path = direct ?? (squashed.endsWith('file') ? settingNamed(squashed.slice(0, -4)) : undefined)
    if (!path && !isInjected(variable, text)) report(`${variable} is no setting${hintFor(variable)}`)
    if (!path || text === '') continue
    const key = dotted(path)
    const other = own.get(key)?.where
    if (other !== undefined) report(`${variable} and ${other} both set ${key}: keep one`)
    try {
      const file = direct ? undefined : await readFile(resolve(workingDirectory, text), 'utf8')
      if (file?.trim() === '') report(`${variable}: ${text} is empty`)
      const content = file === undefined ? text : withoutFinalNewline(file)
      own.set(key, given(path, textValue(content, settingAt(path)), variable))
    } catch (error) {
      report(`${variable}: cannot read ${text}: ${fileFailure(error)}`)
    }
  }
  const taken: Given[] = []
  for (const [variable, name, instead] of legacy) {
    const [text, path] = [environment[variable], pathOf(name)]
    if (!text) continue
    const isRival = (one: Given) =>
      path[0] === 'upstreams' ? one.path[0] === path[0] : dotted(one.path) === name
    const winner = [...own.values()].find(isRival)
    const ours = `${instead.replace('.0.', '[0].')} or ${variableName(pathOf(instead))}`
    if (winner) report(`${variable} has no effect, because ${winner.where} is set`, 'warning')
    else report(`${variable} is taken over from registry:2: write ${ours}`, 'warning')
    if (!winner)
      taken.push(given(path, name === 'upstreams' ? [{ name: registryAt(text), url: text }] : text, variable))
  }
  const all = [...taken, ...[...own.values()].filter(({ value }) => value !== null)]
  return { given: all.toSorted((a, b) => a.path.length - b.path.length), problems }
}

function settingNamed(squashed: string): ValuePath | undefined {
  const [, list, index, rest] = /^([a-z]+)(\d{1,2})([a-z]+)$/.exec(squashed) ?? []
  const entry = bySquashedName.get(`${list}*${rest}`)
  return bySquashedName.get(squashed) ?? entry?.map((part) => (part === '*' ? Number(index) : part))
}

function isInjected(variable: string, text: string): boolean {
  return injected.test(variable) || (injectedForOthers.test(variable) && injectedValue.test(text))
}

function hintFor(variable: string): string {
  const names = paths.map((path) => variableName(path).slice(prefix.length))
  const near = suggest(variable.slice(prefix.length), names)
  const index = /_(\d{1,2})_/.exec(variable)?.[0] ?? '_0_'
  return near === undefined ? '' : `: did you mean ${prefix}${near.replace('_0_', index)}?`
}
