/** A value that SQLite takes. */
export type SqlValue = string | number | Uint8Array | null

const repository = '(SELECT id FROM repository WHERE upstream = ? AND name = ?)'

/** The statements that change the catalog. The first two parameters are the repository's, where it has one. */
export const writeStatements = {
  addRepository: 'INSERT INTO repository (upstream, name) VALUES (?, ?) ON CONFLICT DO NOTHING',
  addManifest: 'INSERT INTO manifest (digest, bytes) VALUES (?, ?) ON CONFLICT DO NOTHING',
  linkManifest: `INSERT INTO repository_manifest VALUES (${repository}, ?, ?)
    ON CONFLICT DO UPDATE SET media_type = excluded.media_type`,
  linkBlob: `INSERT INTO repository_blob VALUES (${repository}, ?, ?)
    ON CONFLICT DO UPDATE SET size = coalesce(excluded.size, size)`,
  setPublicity: `UPDATE repository SET is_public = ?3, public_asked_at = ?4 WHERE upstream = ?1 AND name = ?2`,
  setTag: `INSERT INTO tag VALUES (${repository}, ?, ?, ?)
    ON CONFLICT DO UPDATE SET digest = excluded.digest, checked_at = excluded.checked_at`,
  setReferrers: `INSERT INTO referrers VALUES (${repository}, ?, ?, ?)
    ON CONFLICT DO UPDATE SET descriptors = excluded.descriptors, checked_at = excluded.checked_at`,
} as const

/** The statements that read it; each takes the repository's two parameters first. */
export const readStatements = {
  tag: `SELECT digest, checked_at FROM tag WHERE repository = ${repository} AND name = ?`,
  tags: `SELECT name FROM tag WHERE repository = ${repository} ORDER BY name`,
  manifest: `SELECT media_type, bytes FROM repository_manifest JOIN manifest USING (digest)
    WHERE repository = ${repository} AND digest = ?`,
  referrers: `SELECT descriptors, checked_at FROM referrers WHERE repository = ${repository} AND subject = ?`,
  publicity: 'SELECT is_public, public_asked_at FROM repository WHERE upstream = ? AND name = ?',
  blob: `SELECT size FROM repository_blob WHERE repository = ${repository} AND digest = ?`,
} as const

/** One step of a transaction. */
export interface CatalogWrite {
  readonly statement: keyof typeof writeStatements
  readonly parameters: readonly SqlValue[]
}
