import { dotted, isThere, pathOf, put, type ValuePath, valueAt } from '../yaml/value-tree.ts'
import type { Complaint, ConfigProblem } from './problems.ts'
import { lists } from './settings.ts'

/** Where a value comes from. */
export interface Origin {
  readonly source: 'default' | 'file' | 'environment' | 'flag'
  /** `mirror.yml:12:3` (its key) or the variable's name; undefined for defaults and flags. */
  readonly where: string | undefined
}

/** A value that somebody has given. */
export interface Given extends Origin {
  readonly path: ValuePath
  /**
   * In the form of the file. Of a map or list in the file it is empty, and what is in it is given next; null at a key
   * sets nothing, so that a section whose lines are all commented out is absent. UnitError where it could not be had.
   */
  readonly value: unknown
  /** `mirror.yml:12:9`, where the value itself stands; of the file only. */
  readonly at?: string
}

const unset: Origin = { source: 'default', where: undefined }

/** All that is given, from the least to the most important: what came of it, and where each part is from. */
export class GivenValues {
  /** One tree, in the form of the file, without the defaults of single settings. */
  readonly values: unknown
  readonly #given: readonly Given[]
  readonly #set: readonly Given[]

  constructor(given: readonly Given[]) {
    // The first entry of a list that nobody wrote down can be changed alone, as if it had been.
    const standard = Object.entries(lists).filter(([name]) => !name.includes('*'))
    const base = standard.map(([name, list]) => ({
      path: pathOf(name),
      value: structuredClone(list.default),
      ...unset,
    }))
    this.#given = [...base, ...given]
    this.#set = this.#given.filter(({ path, value }) => value !== null || typeof path.at(-1) === 'number')
    this.values = this.#set.reduce<unknown>((tree, { path, value }) => put(tree, path, value), {})
  }

  /** The origin of the value at a path; `default` where nobody set it. */
  originAt(path: ValuePath): Origin {
    if (!isThere(valueAt(this.values, path))) return unset
    const { source, where } = this.#set.findLast((one) => isWithin(path, one.path)) ?? unset
    return { source, where }
  }

  /** Gives a complaint its place, and names the value as that place does. */
  locate({ path, message, isKey, severity = 'error' }: Complaint): ConfigProblem {
    const nearest = this.#given.findLast((one) => isWithin(path, one.path))
    const isThere = nearest && (nearest.path.length === path.length || isOverride(nearest))
    // What is missing belongs to whoever set its neighbours.
    const neighbour = this.#given.findLast((one) => isWithin(one.path, path.slice(0, -1)))
    const isNeighbours = !isThere && neighbour && isOverride(neighbour)
    const holder: Given = (isNeighbours ? neighbour : nearest) ?? { ...unset, path: [], value: undefined }
    const where = isKey || holder.at === undefined ? placeOf(holder) : holder.at
    const inFull = isKey ? message : `${dotted(path)}: ${message}`
    if (holder.source !== 'environment') return { where, severity, message: inFull }
    const isWhole = !isKey && dotted(holder.path) === dotted(path)
    return { where, severity, message: `${holder.where}: ${isWhole ? message : inFull}` }
  }
}

/** Where a problem with a value is, by the value's origin. */
function placeOf({ source, where = '' }: Origin): string {
  return { default: 'defaults', file: where, environment: 'environment', flag: 'command line' }[source]
}

/** Whether it stands over whatever the file says at its path, and below it. */
function isOverride({ source }: Given): boolean {
  return source === 'environment' || source === 'flag'
}

function isWithin(path: ValuePath, ancestor: ValuePath): boolean {
  return ancestor.length <= path.length && ancestor.every((part, index) => part === path[index])
}
