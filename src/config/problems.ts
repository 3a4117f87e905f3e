import type { ValuePath } from '../yaml/value-tree.ts'

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
  override readonly name = 'ConfigError'
  readonly code = 'CONFIG_INVALID'
  /** Errors and warnings, by place. */
  readonly problems: readonly ConfigProblem[]

  constructor(problems: readonly ConfigProblem[]) {
    super(problems.map(({ where, message }) => `${where}: ${message}`).join('\n'))
    this.problems = problems
  }
}

/** What is wrong with a value, or worth knowing about it, before its place is known. */
export interface Complaint {
  readonly path: ValuePath
  readonly message: string
  readonly severity?: ConfigProblem['severity']
  /** Whether the key is the trouble, and named in the message, and not its value. */
  readonly isKey?: boolean
}

/** Sorts by place: the file by line and column, then the rest; keeps the order where places are equal. */
export function sortProblems(problems: readonly ConfigProblem[]): ConfigProblem[] {
  const position = ({ where }: ConfigProblem): number => {
    const [, line, column] = /:(\d+):(\d+)$/.exec(where) ?? []
    return line === undefined ? Number.MAX_SAFE_INTEGER : Number(line) * 1e6 + Number(column)
  }
  return problems.toSorted((a, b) => position(a) - position(b))
}
