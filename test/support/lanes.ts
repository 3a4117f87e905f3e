/** What runs together: nobody in a lane disturbs the others of it. */
export interface Lane {
  /** Those that take longest first, so that no core idles at the end. */
  readonly files: readonly string[]
  readonly isAlone: boolean
  /** Whether its disk may be in memory: nobody asks for more of it than that it fails as it is told. */
  readonly isInMemory: boolean
}

/** Of all files, those of their lane that take longest. */
export const longest = [
  'test/torture/power-cut.slow.test.ts',
  'test/torture/kill.slow.test.ts',
  'test/e2e/conformance.test.ts',
  'test/storage/sqlite/catalog-foreign.test.ts',
  'test/faults/upstream-rows.test.ts',
  'test/faults/pull.test.ts',
  'test/http/damaged-blobs.test.ts',
  'test/faults/eviction.test.ts',
  'test/faults/push.test.ts',
  'test/faults/scrub.test.ts',
  'test/content/no-bytes.test.ts',
  'test/content/windows.test.ts',
  'test/content/week.test.ts',
  'test/faults/client-rows.test.ts',
  'test/http/classroom.test.ts',
  'test/interleavings/blobs.test.ts',
  'test/interleavings/pins.test.ts',
  'test/http/cache-limit.test.ts',
  'test/content/disk-fails-files.test.ts',
  'test/registry/turned-private.test.ts',
]

/** What a real disk is asked for, and those of the slow ones that measure no times and share no engine, line or address. */
const onDisk = /^test\/(torture\/|storage\/(kill|power-cut)\.|storage\/(?!.*\.slow\.)|e2e\/conformance\.)/

/**
 * Whether a test file starts programs, mounts disks or lays slow lines: what lies in e2e/ or is named so. Most of these run
 * alone.
 */
export function isSlow(file: string): boolean {
  return /(^|\/)e2e\/|\.slow\.test\.ts$/.test(file)
}

/** Which of the test files run together, one lane after the other. */
export function lanesOf(files: readonly string[]): readonly Lane[] {
  const others = files.filter((file) => !longest.includes(file)).toSorted()
  const ordered = [...longest.filter((file) => files.includes(file)), ...others]
  const rest = ordered.filter((file) => !onDisk.test(file))
  return [
    { files: rest.filter((file) => !isSlow(file)), isAlone: false, isInMemory: true },
    { files: ordered.filter((file) => onDisk.test(file)), isAlone: false, isInMemory: false },
    { files: rest.filter(isSlow), isAlone: true, isInMemory: false },
  ]
}
