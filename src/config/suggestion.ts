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
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
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
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1
      let best = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + cost)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, (beforeLast[j - 2] ?? 0) + 1)
      }
      row.push(best)
    }
    beforeLast = last
    last = row
  }
  return last[b.length] ?? Number.POSITIVE_INFINITY
}
