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
  readonly value: unknown
  readonly origin: Origin
}

/** The origin of the value at a path of the merged ones; `default` where nobody set it. */
export type OriginOf = (path: ValuePath) => Origin

/** Finds origins; `overrides` in the order in which they were applied. */
export function originsIn(
  merged: unknown,
  file: ConfigFile | undefined,
  overrides: readonly Override[],
): OriginOf {
  return (path) => {
    const isSet = valueAt(merged, path) !== undefined
    const override = overrides.findLast((one) => isWithin(path, one.path))
    if (isSet && override) return override.origin
    if (!isSet || !file?.yaml.has(path)) return { source: 'default', where: undefined }
    return { source: 'file', where: file.yaml.where(path, 'key') }
  }
}

/** Gives a complaint its place, and names the value as that place does. */
export function locate(
  { path, message, isKey, severity = 'error' }: Complaint,
  file: ConfigFile | undefined,
  overrides: readonly Override[],
): ConfigProblem {
  const override =
    overrides.findLast((one) => isWithin(path, one.path)) ??
    // What is missing belongs to whoever set its neighbours.
    (file?.yaml.has(path) ? undefined : overrides.findLast((one) => isWithin(one.path, path.slice(0, -1))))
  const inFull = isKey || path.length === 0 ? message : `${dotted(path)}: ${message}`
  if (!override)
    return { where: file?.yaml.where(path, isKey ? 'key' : 'value') ?? 'defaults', severity, message: inFull }
  if (override.origin.source === 'flag') return { where: 'command line', severity, message: inFull }
  const isWhole = !isKey && dotted(override.path) === dotted(path)
  return {
    where: 'environment',
    severity,
    message: `${override.origin.where}: ${isWhole ? message : inFull}`,
  }
}

function isWithin(path: ValuePath, ancestor: ValuePath): boolean {
  return ancestor.length <= path.length && ancestor.every((part, index) => part === path[index])
}
