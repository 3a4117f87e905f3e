/**
 * The candidate that a mistyped name most likely meant; undefined where none is near. Names that differ only in
 * case, "_" and "-" are as good as equal.
 */
export function suggest(name: string, candidates: Iterable<string>): string | undefined {
  const wanted = squash(name)
  let best: string | undefined
  // One letter wrong in three at most, and never a name that shares nothing with what was typed.
  let bestDistance = Math.min(4, Math.ceil(wanted.length / 3)) + 1
  for (const candidate of candidates) {
    const distance = editDistance(wanted, squash(candidate))
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance]
  }
  return best
}

/** A name without what people vary: case, "_" and "-". */
export function squash(name: string): string {
  return name.replaceAll(/[_-]/g, '').toLowerCase()
}

/** Insertions, deletions, replacements and swaps of neighbours between two words (restricted Damerau-Levenshtein). */
function editDistance(a: string, b: string): number {
  // Long names are never near a setting; this keeps the cost of a hostile key small.
  if (Math.abs(a.length - b.length) > 4) return Number.POSITIVE_INFINITY
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)]
  const at = (i: number, j: number) => rows[i]?.[j] ?? 0
  for (let i = 1; i <= a.length; i++) {
    rows[i] = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1)
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      const swapped = isSwap ? at(i - 2, j - 2) + 1 : replaced
      rows[i]?.push(Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, replaced, swapped))
    }
  }
  return at(a.length, b.length)
}
