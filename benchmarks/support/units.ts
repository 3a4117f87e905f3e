/** Bytes a second of a line of so many megabits. */
export function megabits(count: number): number {
  return (count * 1_000_000) / 8
}

export const megabyte = 1_000_000

export function showMultiple(value: number): string {
  return `${value.toFixed(2)}x`
}

export function showMilliseconds(value: number): string {
  return value >= 1000 ? `${(value / 1000).toFixed(1)} s` : `${value.toFixed(value >= 10 ? 0 : 1)} ms`
}

export function showCount(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}

export function showMegabytes(bytes: number): string {
  return `${Math.round(bytes / megabyte).toLocaleString('en-US')} MB`
}
