import { RegistryError } from './error.ts'

/** A repository's name that follows the grammar of the distribution-spec ("Pulling manifests"). */
export type RepositoryName = string & { readonly __brand: 'RepositoryName' }

/** Bytes; the limit that clients and Docker Hub hold to. */
const maximumLength = 255

// Every alternative starts with another character, so that the match is linear in the length.
const component = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/

/** Tells whether `text` is a repository name. */
export function isRepositoryName(text: string): text is RepositoryName {
  return text.length <= maximumLength && text.split('/').every((part) => component.test(part))
}

/** Parses a name from the wire. Throws RegistryError NAME_INVALID (400). */
export function parseRepositoryName(text: string): RepositoryName {
  if (isRepositoryName(text)) return text
  throw new RegistryError(
    'NAME_INVALID',
    `"${text.slice(0, 150)}" is not a repository name: lower-case letters and digits, joined by ".", "_", "__" or "-", in parts joined by "/", at most ${maximumLength} characters`,
  )
}
