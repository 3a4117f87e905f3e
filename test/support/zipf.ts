/** Draws one of `count` things, the first most often, the n-th by 1/n^`exponent`. `next`: a number from 0 to below 1. */
export function zipf(count: number, next: () => number, exponent = 1): () => number {
  const ends: number[] = []
  let total = 0
  for (let rank = 1; rank <= count; rank += 1) {
    total += rank ** -exponent
    ends.push(total)
  }
  return () => {
    const drawn = next() * total
    let [low, high] = [0, count - 1]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((ends[middle] ?? 0) <= drawn) low = middle + 1
      else high = middle
    }
    return low
  }
}
