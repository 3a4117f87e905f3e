/** Repositories, manifests, tags with their history, and which repository may read which blob. */
export const mirror = `
  CREATE TABLE repository (
    id INTEGER PRIMARY KEY,
    upstream TEXT NOT NULL,
    name TEXT NOT NULL,
    -- 1 or 0 by an anonymous question to the upstream; NULL where it was not asked.
    is_public INTEGER,
    UNIQUE (upstream, name)
  ) STRICT;

  -- The bytes once, however many repositories have the manifest.
  CREATE TABLE manifest (
    digest TEXT PRIMARY KEY,
    bytes BLOB NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE repository_manifest (
    repository INTEGER NOT NULL REFERENCES repository (id),
    digest TEXT NOT NULL REFERENCES manifest (digest),
    media_type TEXT NOT NULL,
    PRIMARY KEY (repository, digest)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE repository_blob (
    repository INTEGER NOT NULL REFERENCES repository (id),
    digest TEXT NOT NULL,
    size INTEGER,
    PRIMARY KEY (repository, digest)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE tag (
    repository INTEGER NOT NULL REFERENCES repository (id),
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    checked_at INTEGER NOT NULL,
    PRIMARY KEY (repository, name)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE tag_history (
    repository INTEGER NOT NULL REFERENCES repository (id),
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    moved_at INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX tag_history_by_tag ON tag_history (repository, name, moved_at);

  CREATE TRIGGER tag_created AFTER INSERT ON tag BEGIN
    INSERT INTO tag_history VALUES (NEW.repository, NEW.name, NEW.digest, NEW.checked_at);
  END;
  CREATE TRIGGER tag_moved AFTER UPDATE OF digest ON tag WHEN OLD.digest <> NEW.digest BEGIN
    INSERT INTO tag_history VALUES (NEW.repository, NEW.name, NEW.digest, NEW.checked_at);
  END;
`
