import { open, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'

const pieceBytes = 1024 * 1024

/**
 * Writes so many bytes to a file in a folder and removes it. In a virtual machine the first use of a page of memory
 * costs time that is billed to whoever uses it; the kernel hands out again first what was freed last.
 */
export async function touchMemory(folder: string, bytes: number): Promise<void> {
  const path = join(folder, 'touched')
  const piece = new Uint8Array(pieceBytes)
  await using file = await open(path, 'w')
  for (let left = bytes; left > 0; left -= pieceBytes) await file.write(piece)
  await rm(path)
}

/** Brings all files below a folder to the disk, so that this falls into nobody else's turn. */
export async function syncFiles(folder: string): Promise<void> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  for (const entry of entries.filter((one) => one.isFile())) {
    await using file = await open(join(entry.parentPath, entry.name), 'r')
    await file.sync()
  }
}
