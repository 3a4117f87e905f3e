import type { RepositoryName } from '../oci/repository-name.ts'

/**
 * One repository among all: its origin and its name, such as `docker.io:library/app` or `local:app`. The same name of
 * another origin is another repository. Made here only.
 */
export type RepositoryKey = string & { readonly __brand: 'RepositoryKey' }

/** The origin of what was pushed here; no upstream is called so (the configuration refuses the name). */
export const localOrigin = 'local'

/** `origin`: the name of an upstream, or `localOrigin`. */
export function repositoryKey(origin: string, name: RepositoryName): RepositoryKey {
  return `${origin}:${name}` as RepositoryKey
}

/** The upstream's name, or `localOrigin`. An upstream's name may have a colon, a repository's has none. */
export function originOf(key: RepositoryKey): string {
  return key.slice(0, key.lastIndexOf(':'))
}

/** The name that it has at its origin. */
export function nameOf(key: RepositoryKey): RepositoryName {
  return key.slice(key.lastIndexOf(':') + 1) as RepositoryName
}
