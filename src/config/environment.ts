import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { fileFailure } from './file-failure.ts'
import { legacyAssignments } from './legacy-environment.ts'
import type { ConfigProblem } from './problems.ts'
import { type Setting, settingAt, settings } from './settings.ts'
import { squash, suggest } from './suggestion.ts'
import { textValue, withoutFinalNewline } from './text-value.ts'
import type { ValuePath } from './value-tree.ts'

/** One value that a variable sets. */
export interface Assignment {
  readonly path: ValuePath
  readonly value: unknown
  readonly variable: string
}

const prefix = 'MIRROR_'
const reservedNames = new Set(['MIRROR_CONFIG', 'MIRROR_URL', 'MIRROR_TOKEN'])

// What Kubernetes injects for a Service called "mirror", and what Docker's old links do.
const injected =
  /^MIRROR_(?:SERVICE_HOST|SERVICE_PORT(?:_.*)?|PORT|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?|NAME|ENV_.*)$/
// The same for a Service called "mirror-something". The value tells it from a mistyped setting.
const injectedForOthers =
  /^MIRROR_.*_(?:SERVICE_HOST|SERVICE_PORT(?:_.*)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)$/
const injectedValue = /^(?:(?:tcp|udp|sctp):\/\/.*|[0-9a-f:.]+|tcp|udp|sctp)$/i

const variables = new Map<string, Setting>(
  settings
    .filter(({ path }) => !path.includes('*'))
    .map((setting) => [squash(setting.path.join('')), setting]),
)
const upstreamVariables = new Map<string, Setting>(
  settings
    .filter(({ path }) => path[1] === '*')
    .map((setting) => [squash(setting.path.slice(2).join('')), setting]),
)

/** The variable that sets a setting: `MIRROR_CACHE_MAX_SIZE`; `MIRROR_UPSTREAMS_0_URL` for an entry of the list. */
export function variableName(path: readonly (string | number)[]): string {
  const parts = path.map((part) =>
    part === '*' ? '0' : String(part).replaceAll(/[A-Z]/g, '_$&').toUpperCase(),
  )
  return `${prefix}${parts.join('_')}`
}

/**
 * Reads the variables that set something, lists before their entries. Names are matched without case and
 * underscores after `MIRROR_`; `_FILE` at the end reads the value from a file, relative to `workingDirectory`.
 * An unknown `MIRROR_*` is a problem, unless Kubernetes or Docker put it there.
 */
export async function readEnvironment(
  environment: NodeJS.ProcessEnv,
  workingDirectory: string,
): Promise<{ assignments: Assignment[]; problems: ConfigProblem[] }> {
  const assignments = new Map<string, Assignment>()
  const problems: ConfigProblem[] = []
  const report = (message: string) => problems.push({ where: 'environment', severity: 'error', message })
  for (const [variable, text] of Object.entries(environment)) {
    if (!variable.startsWith(prefix) || text === undefined || reservedNames.has(variable)) continue
    const target = targetOf(squash(variable.slice(prefix.length)))
    if (target === undefined) {
      if (!isInjected(variable, text)) report(`${variable} is no setting${hintFor(variable)}`)
      continue
    }
    if (text === '') continue
    const key = target.path.join('.')
    const other = assignments.get(key)?.variable
    if (other !== undefined) report(`${variable} and ${other} both set ${key}: keep one`)
    try {
      const content = target.fromFile
        ? withoutFinalNewline(await readFile(resolve(workingDirectory, text), 'utf8'))
        : text
      if (target.fromFile && content.trim() === '') report(`${variable}: ${text} is empty`)
      assignments.set(key, { path: target.path, variable, value: textValue(content, settingAt(target.path)) })
    } catch (error) {
      report(`${variable}: cannot read ${text}: ${fileFailure(error)}`)
    }
  }
  const legacy = legacyAssignments(environment, [...assignments.values()])
  const all = [...legacy.assignments, ...assignments.values()].filter(({ value }) => value !== null)
  return {
    assignments: all.toSorted((a, b) => a.path.length - b.path.length),
    problems: [...problems, ...legacy.problems],
  }
}

function targetOf(squashed: string): { path: ValuePath; fromFile: boolean } | undefined {
  const direct = pathOf(squashed)
  if (direct) return { path: direct, fromFile: false }
  const named = squashed.endsWith('file') ? pathOf(squashed.slice(0, -'file'.length)) : undefined
  return named && { path: named, fromFile: true }
}

function pathOf(squashed: string): ValuePath | undefined {
  if (squashed === 'upstreams') return ['upstreams']
  const match = /^upstreams(\d{1,2})([a-z]+)$/.exec(squashed)
  if (!match) return variables.get(squashed)?.path
  const setting = upstreamVariables.get(match[2] ?? '')
  return setting && ['upstreams', Number(match[1]), ...setting.path.slice(2)]
}

function isInjected(variable: string, text: string): boolean {
  return injected.test(variable) || (injectedForOthers.test(variable) && injectedValue.test(text))
}

function hintFor(variable: string): string {
  const names = ['MIRROR_UPSTREAMS', ...settings.map(({ path }) => variableName(path))]
  const near = suggest(
    variable.slice(prefix.length),
    names.map((name) => name.slice(prefix.length)),
  )
  const index = /_(\d{1,2})_/.exec(variable)?.[0] ?? '_0_'
  return near === undefined ? '' : `: did you mean ${prefix}${near.replace('_0_', index)}?`
}
