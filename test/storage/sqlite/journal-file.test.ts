import assert from 'node:assert/strict'
import { readdirSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { JournalFile } from '../../../src/storage/sqlite/pushed/journal-file.ts'
import { FaultyDisk } from '../../support/faulty-disk.ts'
import { storageFolder } from '../files/storage-folder.ts'

const openings = {
  'one that is there': (path: string) => JournalFile.open(path),
  'a new one': (path: string) => JournalFile.create(path, 0o600),
}
const operations = ['stat', 'read', 'write'] as const

for (const [name, open] of Object.entries(openings)) {
  test(`a journal that cannot be opened, ${name}, holds no descriptor`, async (t) => {
    const folder = await storageFolder(t)
    const path = join(folder, 'pushed.journal')
    writeFileSync(path, 'x'.repeat(200))
    const disk = await FaultyDisk.below(t, folder)
    for (const operation of operations) {
      disk.fail({ operation, error: 'EIO' })
      try {
        open(path).close()
      } catch (error) {
        assert.equal((error as NodeJS.ErrnoException).code, 'EIO')
      }
      disk.heal()
      assert.deepEqual(openBelow(folder), [], operation)
    }
    open(path).close()
  })
}

function openBelow(folder: string): string[] {
  return readdirSync('/proc/self/fd').flatMap((descriptor) => {
    try {
      return [readlinkSync(`/proc/self/fd/${descriptor}`)].filter((path) => path.startsWith(folder))
    } catch {
      return []
    }
  })
}
