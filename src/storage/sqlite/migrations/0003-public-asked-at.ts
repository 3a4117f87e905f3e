/** When it was last found out whether everybody may read a repository, in milliseconds since the epoch. */
export const publicAskedAt = `
  ALTER TABLE repository ADD COLUMN public_asked_at INTEGER;
`
