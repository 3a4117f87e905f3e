/** When each push began, and which bytes may go. An upload of an earlier version counts as begun before everything. */
export const collection = `
  ALTER TABLE upload ADD COLUMN begun_at INTEGER NOT NULL DEFAULT 0;
  -- Bytes without a record, until they are known to have gone: a kill may come between the two.
  CREATE TABLE removal (digest BLOB PRIMARY KEY NOT NULL) STRICT, WITHOUT ROWID;
`
