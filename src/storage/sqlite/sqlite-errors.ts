// Result codes of SQLite (https://sqlite.org/rescode.html).
export const sqliteBusy = 5
export const sqliteCorrupt = 11
export const sqliteFull = 13
const sqliteConstraint = 19
const sqliteMismatch = 20
// A key that is there twice, of which no statement adds one: a page is not in order. CONSTRAINT_PRIMARYKEY, _UNIQUE, _ROWID.
const sqliteTwice: ReadonlySet<number> = new Set([1555, 2067, 2579])
export const sqliteNotADatabase = 26

/** The primary result code of an error of `node:sqlite`; undefined for anything else. */
export function sqliteCode(error: unknown): number | undefined {
  return error instanceof Error && 'errcode' in error ? Number(error.errcode) & 0xff : undefined
}

/** A record of the catalog holds what nobody wrote: a damaged page need not look like one to SQLite. */
export class DamagedRecord extends Error {}

/** Whether the file of the catalog is damaged, and not merely the disk full or the caller wrong. */
export function isDamage(error: unknown): boolean {
  if (error instanceof DamagedRecord) return true
  const code = sqliteCode(error)
  if (code === sqliteCorrupt || code === sqliteNotADatabase) return true
  if (error instanceof Error && 'errcode' in error && sqliteTwice.has(Number(error.errcode))) return true
  // An integer beyond 2^53, which nobody wrote.
  return error instanceof Error && 'code' in error && error.code === 'ERR_OUT_OF_RANGE'
}

/** Whether SQLite refused a value: the caller's mistake. */
export function isRefusedValue(error: unknown): boolean {
  const code = sqliteCode(error)
  return code === sqliteConstraint || code === sqliteMismatch
}

/** Whether there was no room on the disk; nothing was done. */
export function isFull(error: unknown): boolean {
  return sqliteCode(error) === sqliteFull
}
