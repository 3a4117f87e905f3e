/** Where a value stands in a configuration: keys of maps and indexes of lists. */
export type ValuePath = readonly (string | number)[]

/** The dotted form of a path, as people read it: `upstreams.0.name`. */
export function dotted(path: ValuePath): string {
  return path.join('.')
}

/** The path of a dotted form. */
export function pathOf(name: string): ValuePath {
  return name.split('.').map((part) => (/^\d+$/.test(part) ? Number(part) : part))
}

export type ValueMap = Readonly<Record<string, unknown>>

/** Whether a value is a map, and no list. */
export function isMap(value: unknown): value is ValueMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Whether there is a value: a key without one is null. */
export function isThere(value: unknown): boolean {
  return value !== undefined && value !== null
}

/** The value at a path of maps and lists; undefined where there is none. */
export function valueAt(tree: unknown, path: ValuePath): unknown {
  let value = tree
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined
    value = (value as Record<string | number, unknown>)[key]
  }
  return value
}

/** Puts a value into a tree, in place, and returns it; maps and lists on the way are made where they are missing. */
export function put(tree: unknown, path: ValuePath, value: unknown): unknown {
  const [key, ...rest] = path
  if (key === undefined) return value
  // It stands for a value that could not be had, and has to be told.
  if (tree instanceof Error) return tree
  const below = put(valueAt(tree, [key]), rest, value)
  if (typeof key === 'string') {
    // Not assigned, since a key may be "__proto__".
    const property = { value: below, configurable: true, enumerable: true, writable: true }
    return Object.defineProperty(isMap(tree) ? tree : {}, key, property)
  }
  const list = Array.isArray(tree) ? tree : []
  // A gap is an empty map, so that the checks name what it lacks.
  while (list.length < key) list.push({})
  list[key] = below
  return list
}
