/** Where a value stands in a configuration: keys of maps and indexes of lists. */
export type ValuePath = readonly (string | number)[]

/** The dotted form of a path, as people read it: `upstreams.0.name`. */
export function dotted(path: ValuePath): string {
  return path.join('.')
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

/** A copy of the tree with a value at a path; maps and lists on the way are made where they are missing. */
export function withValueAt(tree: unknown, path: ValuePath, value: unknown): unknown {
  const [key, ...rest] = path
  if (key === undefined) return value
  if (typeof key === 'number') {
    const list = Array.isArray(tree) ? [...tree] : []
    // A gap is an empty map, so that the schema names what it lacks.
    while (list.length < key) list.push({})
    list[key] = withValueAt(list[key], rest, value)
    return list
  }
  const map = typeof tree === 'object' && tree !== null && !Array.isArray(tree) ? tree : {}
  const below = Object.hasOwn(map, key) ? (map as Record<string, unknown>)[key] : undefined
  return { ...map, [key]: withValueAt(below, rest, value) }
}

/** A copy without the keys of maps that hold null: a section whose lines are all commented out is absent. */
export function withoutNulls(tree: unknown): unknown {
  if (Array.isArray(tree)) return tree.map(withoutNulls)
  if (typeof tree !== 'object' || tree === null) return tree
  const kept = Object.entries(tree).filter(([, value]) => value !== null && value !== undefined)
  return Object.fromEntries(kept.map(([key, value]) => [key, withoutNulls(value)]))
}
