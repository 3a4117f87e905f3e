import assert from 'node:assert/strict'
import { accessSync, constants, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { TestContext } from 'node:test'

/** Where programs are looked for: some of Debian's lie in folders that only root has in its PATH. */
export const programPath = [process.env.PATH, '/usr/local/sbin', '/usr/sbin', '/sbin'].join(delimiter)

/** A shell and its tools in one file that needs no libraries, so that an image can consist of it. */
export const busybox = '/bin/busybox'

/** What a test needs of the machine: the Debian package of each program. */
export type Requirements = {
  readonly programs: Readonly<Record<string, string>>
  /** To mount, and to run containers. */
  readonly root?: boolean
}

/**
 * Tells whether a test can run here. Where it cannot, the test is skipped with a reason that names what to
 * install; under CI that is a failure, since a test that is always skipped proves nothing.
 */
export function meets(t: TestContext, { programs, root = false }: Requirements): boolean {
  const missing = Object.entries(programs)
    .filter(([program]) => !isInstalled(program))
    .map(([program, debianPackage]) => `${program} (Debian package ${debianPackage})`)
  if (root && process.getuid?.() !== 0) missing.push('root')
  if (missing.length === 0) return true
  const reason = `needs ${missing.join(', ')}`
  if (process.env.CI) assert.fail(reason)
  t.skip(reason)
  return false
}

function isInstalled(program: string): boolean {
  if (program === 'busybox') return isExecutable(busybox) && isStatic(readFileSync(busybox))
  return programPath.split(delimiter).some((folder) => isExecutable(join(folder, program)))
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Whether a 64-bit ELF file asks for no interpreter (PT_INTERP): the package `busybox` has one that does. */
function isStatic(elf: Buffer): boolean {
  const [table, entrySize, count] = [
    Number(elf.readBigUInt64LE(0x20)),
    elf.readUInt16LE(0x36),
    elf.readUInt16LE(0x38),
  ]
  const types = Array.from({ length: count }, (_, index) => elf.readUInt32LE(table + index * entrySize))
  return !types.includes(3)
}
