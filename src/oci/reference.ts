import { type Digest, isDigest, parseDigest } from './digest.ts'
import { RegistryError } from './error.ts'

/** A tag that follows the grammar of the distribution-spec, at most 128 characters. */
export type Tag = string & { readonly __brand: 'Tag' }

/** What a manifest is asked for by. A tag never contains ":", so the two cannot be confused. */
export type Reference = Tag | Digest

const tagGrammar = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/

/** Tells whether `text` is a tag. */
export function isTag(text: string): text is Tag {
  return tagGrammar.test(text)
}

/** Parses a tag or a digest from the wire. Throws RegistryError DIGEST_INVALID or TAG_INVALID (400). */
export function parseReference(text: string): Reference {
  return text.includes(':') ? parseDigest(text) : parseTag(text)
}

/** Parses a tag from the wire. Throws RegistryError TAG_INVALID (400). */
export function parseTag(text: string): Tag {
  if (isTag(text)) return text
  throw new RegistryError(
    'TAG_INVALID',
    `"${text.slice(0, 150)}" is not a tag: a letter, a digit or "_", then at most 127 letters, digits, ".", "_" or "-"`,
  )
}

/** Tells whether a reference names content, not a tag. */
export function isDigestReference(reference: Reference): reference is Digest {
  return isDigest(reference)
}
