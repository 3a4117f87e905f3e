/**
 * What repositories hold and on whose word, what their manifests name, and which bytes are here. Digests are bytes: one
 * for the algorithm, then 32 or 64. Times are milliseconds since the epoch. No triggers and no foreign keys: the verbs
 * do their work.
 */
export const evidenceTables = `
  -- Known only after an upstream said yes, or a push: names that are made up leave no row.
  CREATE TABLE repository (
    id INTEGER PRIMARY KEY,
    -- The name of an upstream, or "local".
    origin TEXT NOT NULL,
    name TEXT NOT NULL,
    -- The first refusal of a question as anyone since the last yes.
    refused_since INTEGER,
    UNIQUE (origin, name)
  ) STRICT;

  -- The bytes once, however many repositories have the manifest. Of up to some MiB: hence with a rowid.
  CREATE TABLE manifest (
    digest BLOB PRIMARY KEY NOT NULL,
    bytes BLOB NOT NULL
  ) STRICT;

  -- The evidence that a repository has some content, and why it is kept.
  CREATE TABLE holding (
    repository INTEGER NOT NULL,
    digest BLOB NOT NULL,
    -- Of a manifest in this repository; NULL: a blob.
    media_type TEXT,
    -- Its upstream said yes: to anyone, to an account.
    public_at INTEGER,
    account_at INTEGER,
    -- Pushed or mounted here; wanted for ever.
    local_at INTEGER,
    pinned_at INTEGER,
    -- A local blob that no manifest of this repository needs; NULL while one does.
    idle_since INTEGER,
    PRIMARY KEY (repository, digest)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX holding_public ON holding (digest, public_at) WHERE public_at IS NOT NULL;
  CREATE INDEX holding_kept ON holding (digest) WHERE local_at IS NOT NULL OR pinned_at IS NOT NULL;
  CREATE INDEX holding_manifest ON holding (digest) WHERE media_type IS NOT NULL;
  CREATE INDEX holding_idle ON holding (idle_since) WHERE idle_since IS NOT NULL;

  -- What a manifest of this repository says.
  CREATE TABLE reference (
    repository INTEGER NOT NULL,
    target BLOB NOT NULL,
    -- config, layer, manifest or subject.
    kind TEXT NOT NULL,
    manifest BLOB NOT NULL,
    -- A claim.
    size INTEGER,
    artifact_type TEXT,
    PRIMARY KEY (repository, target, kind, manifest)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX reference_of ON reference (repository, manifest);

  CREATE TABLE tag (
    repository INTEGER NOT NULL,
    name TEXT NOT NULL,
    digest BLOB NOT NULL,
    checked_at INTEGER NOT NULL,
    PRIMARY KEY (repository, name)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX tag_of ON tag (repository, digest);

  -- The last 100 of each tag.
  CREATE TABLE tag_move (
    repository INTEGER NOT NULL,
    name TEXT NOT NULL,
    moved_at INTEGER NOT NULL,
    digest BLOB NOT NULL,
    mover TEXT,
    PRIMARY KEY (repository, name, moved_at)
  ) STRICT, WITHOUT ROWID;

  -- What an upstream last said refers to a manifest.
  CREATE TABLE referrers (
    repository INTEGER NOT NULL,
    subject BLOB NOT NULL,
    -- A JSON array of descriptors, of up to some MiB: hence with a rowid.
    descriptors TEXT NOT NULL,
    checked_at INTEGER NOT NULL,
    PRIMARY KEY (repository, subject)
  ) STRICT;

  -- The bytes that are here; the row dies with them.
  CREATE TABLE blob (
    digest BLOB PRIMARY KEY NOT NULL,
    size INTEGER NOT NULL,
    mtime INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    used_at INTEGER NOT NULL,
    verified_at INTEGER NOT NULL,
    -- 1 where a holding is local or pinned; each verb that touches one settles it.
    kept INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX blob_lru ON blob (used_at) WHERE kept = 0;
  CREATE INDEX blob_scrub ON blob (verified_at);

  -- A push under way. Its repository is a key, such as local:app: it need not be known yet.
  CREATE TABLE upload (
    id TEXT PRIMARY KEY NOT NULL,
    repository TEXT NOT NULL,
    owner TEXT,
    node TEXT,
    touched_at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX upload_stale ON upload (touched_at);
  CREATE INDEX upload_in ON upload (repository);

  -- Names that are wanted for ever, and those to be fetched later.
  CREATE TABLE pin (pattern TEXT PRIMARY KEY NOT NULL, pinned_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE wish (
    reference TEXT NOT NULL,
    platform TEXT NOT NULL,
    asked_at INTEGER NOT NULL,
    due_at INTEGER,
    PRIMARY KEY (reference, platform)
  ) STRICT, WITHOUT ROWID;
`
