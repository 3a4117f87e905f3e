import { statfsSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

/** Types of file systems of Linux that write what is changed to a new place (`statfs(2)`), as numbers without a sign. */
const copyOnWrite: ReadonlySet<number> = new Set([
  0x9123683e, // btrfs
  0xca451a4e, // bcachefs
  0x2fc12fc1, // zfs
  0x3434, // nilfs2
  0x794c7630, // overlayfs, which may lie on any of them
])

/**
 * Where SQLite opens the catalog at `path` for writing. SQLite keeps the index of the journal in a file that it maps into
 * memory (`-shm`). Where changed pages are copied to a new place a full disk has none for them, and the kernel ends the
 * process (SIGBUS): there the index is kept on the heap of this process, which all its connections share, and no other
 * process can read the catalog meanwhile (https://sqlite.org/vfs.html, "unix-excl").
 */
export function databaseLocation(path: string): string | URL {
  return isOnCopyOnWrite(path) ? unsharedLocation(path) : path
}

/** The one that keeps it on the heap. */
export function unsharedLocation(path: string): URL {
  const url = pathToFileURL(resolve(path))
  url.searchParams.set('vfs', 'unix-excl')
  return url
}

function isOnCopyOnWrite(path: string): boolean {
  if (process.platform !== 'linux') return false
  try {
    return copyOnWrite.has(statfsSync(dirname(path)).type >>> 0)
  } catch {
    // Whoever opens it finds out why.
    return false
  }
}
