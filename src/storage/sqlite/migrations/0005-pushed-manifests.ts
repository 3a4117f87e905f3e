/** Whether a manifest was pushed into a repository is asked with each request for a name that can be pushed. */
export const pushedManifests = `
  CREATE INDEX holding_pushed ON holding (repository) WHERE media_type IS NOT NULL AND local_at IS NOT NULL;
`
