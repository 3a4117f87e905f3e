/** Docker Hub by the name it has in images, and where it answers and hands out tokens. */
export const dockerHub = {
  name: 'docker.io',
  url: 'https://registry-1.docker.io',
  realm: 'https://auth.docker.io',
} as const

/** What clients call Docker Hub in `?ns=`, and people in a path. */
export const dockerHubAliases: readonly string[] = [
  'index.docker.io',
  'registry-1.docker.io',
  'registry.hub.docker.com',
]
