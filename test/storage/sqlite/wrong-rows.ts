/** Of a catalog in SQLite, whatever was done to it: rows that should not be there. */
export const wrongRows = {
  'kept as if nobody wanted it, or the other way round': `SELECT hex(digest) FROM blob WHERE kept <> EXISTS (
    SELECT 1 FROM holding WHERE holding.digest = blob.digest AND (local_at IS NOT NULL OR pinned_at IS NOT NULL))`,
  'a tag of no manifest': `SELECT tag.name FROM tag WHERE NOT EXISTS (SELECT 1 FROM holding JOIN manifest USING (digest)
    WHERE holding.repository = tag.repository AND holding.digest = tag.digest AND media_type IS NOT NULL)`,
  'a manifest that nobody holds': `SELECT hex(digest) FROM manifest WHERE NOT EXISTS (
    SELECT 1 FROM holding WHERE holding.digest = manifest.digest AND media_type IS NOT NULL)`,
  'a reference of no manifest': `SELECT hex(target) FROM reference WHERE NOT EXISTS (SELECT 1 FROM holding
    WHERE holding.repository = reference.repository AND digest = reference.manifest)`,
  'idle though needed': `SELECT hex(digest) FROM holding WHERE idle_since IS NOT NULL
    AND EXISTS (SELECT 1 FROM reference WHERE reference.repository = holding.repository AND target = digest AND kind <> 'subject')`,
  'local, without need, and never idle': `SELECT hex(digest) FROM holding WHERE idle_since IS NULL AND local_at IS NOT NULL
    AND media_type IS NULL AND NOT EXISTS (
      SELECT 1 FROM reference WHERE reference.repository = holding.repository AND target = digest AND kind <> 'subject')`,
} as const
