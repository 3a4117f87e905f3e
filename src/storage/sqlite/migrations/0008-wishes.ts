/** What is to be fetched later. By names: of what could not be asked for it is not known whether there is such a repository. */
export const wishes = `
  -- Nothing ever wrote into the one before.
  DROP TABLE wish;
  CREATE TABLE wish (
    origin TEXT NOT NULL,
    repository TEXT NOT NULL,
    reference TEXT NOT NULL,
    kind TEXT NOT NULL,
    platform TEXT,
    asked_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    PRIMARY KEY (origin, repository, reference, kind)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX wish_asked ON wish (asked_at);
`
