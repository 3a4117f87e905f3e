import type { ConfigFile } from './config-file.ts'
import type { Complaint, ConfigProblem } from './problems.ts'
import { dotted, type ValuePath, valueAt } from './value-tree.ts'

/** Where a value comes from. */
export interface Origin {
  readonly source: 'default' | 'file' | 'environment' | 'flag'
  /** `mirror.yml:12:3` or the variable's name; undefined for defaults and flags. */
  readonly where: string | undefined
}

/** A value that the environment or a flag puts over those of the file. */
export interface Override {
  readonly path: ValuePath
  readonly origin: Origin
}

/** Knows for every path of the merged values which file, variable or flag said so. */
export class Origins {
  readonly #merged: unknown
  readonly #file: ConfigFile | undefined
  readonly #overrides: readonly Override[]

  /** `overrides` in the order in which they were applied. */
  constructor(merged: unknown, file: ConfigFile | undefined, overrides: readonly Override[]) {
    this.#merged = merged
    this.#file = file
    this.#overrides = overrides
  }

  /** The origin of the value at a path; `default` where nobody set it. */
  of(path: ValuePath): Origin {
    const isSet = valueAt(this.#merged, path) !== undefined
    const override = this.#overrides.findLast((one) => isWithin(path, one.path))
    if (isSet && override) return override.origin
    if (!isSet || !this.#file?.yaml.has(path)) return { source: 'default', where: undefined }
    return { source: 'file', where: this.#file.yaml.where(path, 'key') }
  }

  /** Gives a complaint its place, and names the value as that place does. */
  locate({ path, about, message }: Complaint): ConfigProblem {
    const isInFile = this.#file?.yaml.has(path)
    const override =
      this.#overrides.findLast((one) => isWithin(path, one.path)) ??
      // What is missing belongs to whoever set its neighbours.
      (isInFile ? undefined : this.#overrides.findLast((one) => isWithin(one.path, path.slice(0, -1))))
    const inFull = about === 'key' || path.length === 0 ? message : `${dotted(path)}: ${message}`
    const problem = { severity: 'error', message: inFull } as const
    if (!override) return { ...problem, where: this.#file?.yaml.where(path, about) ?? 'defaults' }
    const { source, where: variable } = override.origin
    if (source === 'flag') return { ...problem, where: 'command line' }
    const isWhole = about === 'value' && dotted(override.path) === dotted(path)
    return { ...problem, where: 'environment', message: `${variable}: ${isWhole ? message : inFull}` }
  }

  /** Where a setting that was set by hand stands; undefined for a default. */
  whereSet(path: ValuePath): string | undefined {
    const { source, where } = this.of(path)
    return { default: undefined, file: where, environment: 'environment', flag: 'command line' }[source]
  }
}

function isWithin(path: ValuePath, ancestor: ValuePath): boolean {
  return ancestor.length <= path.length && ancestor.every((part, index) => part === path[index])
}
