import type { RepositoryName } from '../oci/repository-name.ts'

/**
 * One repository among all: its origin and its name, such as `docker.io:library/app` or `local:app`. The same name of
 * another origin is another repository. Made here only.
 */
export type RepositoryKey = string & { readonly __brand: 'RepositoryKey' }

/** `origin`: the name of an upstream. */
export function repositoryKey(origin: string, name: RepositoryName): RepositoryKey {
  return `${origin}:${name}` as RepositoryKey
}

/** The name that it has at its origin. */
export function nameOf(key: RepositoryKey): RepositoryName {
  return key.slice(key.lastIndexOf(':') + 1) as RepositoryName
}
