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

/** Megabytes with as much precision as there is to see: `0.3 MB`, `50 MB`. */
export function showSize(bytes: number): string {
  const megabytes = bytes / megabyte
  return megabytes < 9.95 ? `${Number(megabytes.toFixed(1))} MB` : showMegabytes(bytes)
}

/** Milliseconds as people say them: `3 ms`, `0.4 s`, `21 s`, `2 min 41 s`. */
export function showSeconds(milliseconds: number): string {
  if (milliseconds < 100) return `${Math.ceil(milliseconds)} ms`
  if (milliseconds < 9950) return `${Number((milliseconds / 1000).toFixed(1))} s`
  const seconds = Math.round(milliseconds / 1000)
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`
}

export function showCount(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}

export function showMegabytes(bytes: number): string {
  return `${Math.round(bytes / megabyte).toLocaleString('en-US')} MB`
}
