import { copyFileSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { migrate } from './migrations/migrate.ts'
import { openDatabase } from './open-database.ts'

const pageSize = 4096
// Offsets in the header of the file (https://sqlite.org/fileformat2.html, "The Database Header").
const changes = 24
const pageCount = 28
const firstFreePage = 32
const freePages = 36
const changesAtPageCount = 92

const endings = ['', '-wal', '-shm', '-journal']

/**
 * Makes a copy of a catalog whose schema cannot be read, with the schema of a new one put over it: one that was made by
 * this version, and not brought over from an older one, has each table where a new one has it. Where it has not, what is
 * read is of other tables, and no row of one is taken for that of another one. Dispose to remove the copy.
 */
export function lendSchema(path: string): Disposable & { readonly path: string } {
  const lentPath = `${path}.rebuilt-lent`
  const remove = () => {
    for (const ending of endings) rmSync(lentPath + ending, { force: true })
  }
  remove()
  try {
    const { pages, bytes } = newCatalog(lentPath)
    remove()
    if (existsSync(`${path}-wal`)) copyFileSync(`${path}-wal`, `${lentPath}-wal`)
    const copy = readFileSync(path)
    for (const page of pages) bytes.copy(copy, (page - 1) * pageSize, (page - 1) * pageSize, page * pageSize)
    if (copy.length >= pageSize) {
      copy.writeUInt32BE(Math.floor(copy.length / pageSize), pageCount)
      copy.writeUInt32BE(copy.readUInt32BE(changes), changesAtPageCount)
      copy.writeUInt32BE(0, firstFreePage)
      copy.writeUInt32BE(0, freePages)
    }
    writeFileSync(lentPath, copy)
    return { path: lentPath, [Symbol.dispose]: remove }
  } catch (error) {
    remove()
    throw error
  }
}

/** The bytes of a new catalog, and the pages of them that hold its schema. */
function newCatalog(path: string): { readonly pages: readonly number[]; readonly bytes: Buffer } {
  const database = openDatabase(path)
  try {
    migrate(database)
    const rows = database.prepare("SELECT pageno FROM dbstat WHERE name = 'sqlite_schema'").all()
    database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    return { pages: rows.map(({ pageno }) => Number(pageno)), bytes: readFileSync(path) }
  } finally {
    database.close()
  }
}
