import type * as z from 'zod'
import { keysAt, settings } from './settings.ts'
import { suggest } from './suggestion.ts'
import { dotted, type ValuePath } from './value-tree.ts'

/** One thing that is wrong with the configuration, or worth knowing about it. */
export interface ConfigProblem {
  /** `mirror.yml:12:3` (line and column from 1), `environment` or `command line`. */
  readonly where: string
  readonly severity: 'error' | 'warning'
  /** One line that says what, and what to do. Holds no secret. */
  readonly message: string
}

/** A configuration that cannot be used, with everything that is wrong with it (exit code 3). */
export class ConfigError extends Error {
  readonly code = 'CONFIG_INVALID'
  /** Errors and warnings, by place. */
  readonly problems: readonly ConfigProblem[]

  constructor(problems: readonly ConfigProblem[]) {
    super(problems.map(({ where, message }) => `${where}: ${message}`).join('\n'))
    this.name = 'ConfigError'
    this.problems = problems
  }
}

/** What the schema has against a value, before its place is known. */
export interface Complaint {
  /** The value, or the unknown key itself. */
  readonly path: ValuePath
  /** Whether the key is the trouble, and named in the message, or its value. */
  readonly about: 'key' | 'value'
  readonly message: string
}

/** Turns what zod found into complaints, one for each unknown key, with suggestions. */
export function complaintsOf(issues: readonly z.core.$ZodIssue[]): Complaint[] {
  return issues.flatMap((issue): Complaint[] => {
    const path = issue.path.map((part) => (typeof part === 'number' ? part : String(part)))
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => ({
        path: [...path, key],
        about: 'key',
        message: `unknown key "${dotted([...path, key])}"${hintForKey(key, path)}`,
      }))
    }
    return [{ path, about: 'value', message: issue.message }]
  })
}

function hintForKey(key: string, section: ValuePath): string {
  const near = suggest(key, keysAt(section))
  if (near !== undefined) return `: did you mean "${near}"?`
  // "maxSize" at the top, or under "storage", belongs somewhere else; so does the flat "cache.maxSize".
  const elsewhere = settings.filter(({ path }) => path.at(-1) === key || path.join('.') === key)
  const [only, ...more] = elsewhere.map(({ path }) => path.join('.').replace('*', '0'))
  if (only === undefined || more.length > 0) return ''
  return only === dotted([...section, key])
    ? ': write it nested, not with a dot'
    : `: it belongs at "${only}"`
}

/** Sorts by place: the file by line and column, then the rest; keeps the order where places are equal. */
export function sortProblems(problems: readonly ConfigProblem[]): ConfigProblem[] {
  const position = ({ where }: ConfigProblem): number => {
    const match = /:(\d+):(\d+)$/.exec(where)
    return match ? Number(match[1]) * 1e6 + Number(match[2]) : Number.POSITIVE_INFINITY
  }
  return problems.toSorted((a, b) => {
    const [first, second] = [position(a), position(b)]
    return first === second ? 0 : first - second
  })
}
