import { mkdtempSync, rmSync, statfsSync } from 'node:fs'
import { join } from 'node:path'

/** Of those file systems that are in memory, on Linux; see statfs(2). */
const tmpfs = 0x01021994
/** Bytes of it, and of memory beside it: far more than the folders of a few test files have at a time. */
const room = 2 * 1024 ** 3

/** A new folder in memory that goes with this process; undefined where the machine has none with room. */
export function memoryFolder(parent = '/dev/shm', free = process.availableMemory()): string | undefined {
  if (free < 2 * room || !hasRoom(parent)) return undefined
  const folder = mkdtempSync(join(parent, 'larder-tests-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
  return folder
}

function hasRoom(folder: string): boolean {
  try {
    const { type, bavail, bsize } = statfsSync(folder)
    return type === tmpfs && bavail * bsize >= room
  } catch {
    return false
  }
}
