/** How a process or a machine ends, as a test has it. */
export interface Crash {
  /** killed: the process ended, the disk has all that was written. power: what was not synced may be gone. */
  readonly kind: 'killed' | 'power'
  /** Whether a thing that may be gone is still there; asked once for each. */
  readonly keeps: () => boolean
}
