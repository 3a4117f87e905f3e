/** What an upstream last said refers to a manifest, which need not be here itself; an empty list is an answer too. */
export const referrers = `
  CREATE TABLE referrers (
    repository INTEGER NOT NULL REFERENCES repository (id),
    subject TEXT NOT NULL,
    -- A JSON array of descriptors, of up to some MiB: hence with a rowid.
    descriptors TEXT NOT NULL,
    checked_at INTEGER NOT NULL,
    PRIMARY KEY (repository, subject)
  ) STRICT;
`
