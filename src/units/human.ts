const units = ['kB', 'MB', 'GB', 'TB', 'PB'] as const

/** Bytes as people write them: `0 B`, `999 B`, `1.2 kB`, `31 MB`; decimal, as `docker images` has it. */
export function humanBytes(bytes: number): string {
  let value = bytes
  let unit: string = 'B'
  for (const next of units) {
    if (Math.abs(value) < 999.5) break
    value /= 1000
    unit = next
  }
  return `${threeDigits(value, unit === 'B')} ${unit}`
}

/** Milliseconds as people write them: `3 ms`, `1.2 s`, `45 s`, `2 min 5 s`, `1 h 20 min`. */
export function humanDuration(ms: number): string {
  if (ms < 999.5) return `${Math.round(ms)} ms`
  if (ms < 59_950) return `${threeDigits(ms / 1000, false)} s`
  const seconds = Math.round(ms / 1000)
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`
}

function threeDigits(value: number, isWhole: boolean): string {
  if (isWhole || Math.abs(value) >= 9.95) return String(Math.round(value))
  return String(Math.round(value * 10) / 10)
}
