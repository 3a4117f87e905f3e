/**
 * Whether a test file starts programs, mounts disks or lays slow lines, so that it runs alone: what lies in e2e/ or is
 * named so.
 */
export function isSlow(file: string): boolean {
  return /(^|\/)e2e\/|\.slow\.test\.ts$/.test(file)
}
