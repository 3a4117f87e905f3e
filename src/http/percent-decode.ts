import { RegistryError } from '../oci/error.ts'

/** What names, tags and digests are made of, and the slash between the parts of a name. */
const legal = /^[A-Za-z0-9._:/-]*$/

/**
 * Decodes one part of a path once. Clients escape a colon, others all that is no letter; what is legal nowhere stays
 * refused in whichever spelling, and so does a second layer of escapes (`%25`). Throws RegistryError NAME_INVALID
 * (400), also for the parts `.` and `..`, which are none.
 */
export function percentDecode(part: string): string {
  const decoded = part.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
  if (!legal.test(decoded)) {
    throw new RegistryError('NAME_INVALID', 'the path has characters that no repository, tag or digest has')
  }
  if (decoded.split('/').some((piece) => piece === '.' || piece === '..')) {
    throw new RegistryError('NAME_INVALID', 'the path has "." or ".." as a part')
  }
  return decoded
}
