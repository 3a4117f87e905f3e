/** What is kept and what goes where room is short: patterns of pinned tags, who else has a blob, and what was decided. */
export const keeping = `
  -- What the program found out once and goes by: whole numbers.
  CREATE TABLE fact (name TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;

  -- Of a blob that is damaged: whose upstream gives it to an account, where none gives it to anyone.
  CREATE INDEX holding_account ON holding (digest, account_at) WHERE account_at IS NOT NULL AND public_at IS NULL;

  -- Nothing ever wrote into the one before. Those of several repositories are looked at for each, the others found by name.
  DROP TABLE pin;
  CREATE TABLE pin (
    origin TEXT NOT NULL,
    repository TEXT NOT NULL,
    tag TEXT NOT NULL,
    pinned_at INTEGER NOT NULL,
    PRIMARY KEY (origin, repository, tag)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX pin_of_several ON pin (origin) WHERE instr(repository, '*') > 0;
`
