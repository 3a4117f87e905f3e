// Result codes of SQLite (https://sqlite.org/rescode.html).
export const sqliteBusy = 5
export const sqliteCorrupt = 11
export const sqliteFull = 13
export const sqliteNotADatabase = 26

/** The primary result code of an error of `node:sqlite`; undefined for anything else. */
export function sqliteCode(error: unknown): number | undefined {
  return error instanceof Error && 'errcode' in error ? Number(error.errcode) & 0xff : undefined
}
