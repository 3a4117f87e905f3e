import { isDigest } from './digest.ts'

/**
 * Tells whether If-None-Match names `entityTag`, so that the answer is 304 (RFC 9110 13.1.2, weak comparison).
 * `entityTag` is quoted, such as `"sha256:..."`. In the header, old clients send the digest without quotes.
 */
export function matchesEntityTag(ifNoneMatch: string | undefined, entityTag: string): boolean {
  if (ifNoneMatch === undefined) return false
  if (ifNoneMatch.trim() === '*') return true
  const strong = withoutWeakness(entityTag)
  const bare = strong.slice(1, -1)
  return listElements(ifNoneMatch).some(
    (element) => withoutWeakness(element) === strong || (element === bare && isDigest(bare)),
  )
}

/**
 * Tells whether a Range header may be honoured next to this If-Range (RFC 9110 13.1.5, strong comparison).
 * A date never matches: content that is named by its digest has no date to compare with.
 */
export function rangeStillApplies(ifRange: string | undefined, entityTag: string): boolean {
  if (ifRange === undefined) return true
  return ifRange.trim() === entityTag && entityTag.startsWith('"')
}

function withoutWeakness(entityTag: string): string {
  return entityTag.startsWith('W/"') ? entityTag.slice(2) : entityTag
}

/** Splits at commas outside of quotes: an entity tag may contain commas, but neither quotes nor escapes. */
function listElements(header: string): string[] {
  const elements: string[] = []
  let start = 0
  let quoted = false
  for (let index = 0; index <= header.length; index++) {
    const character = header[index]
    if (character === '"') quoted = !quoted
    if (character === undefined || (character === ',' && !quoted)) {
      // Empty elements are legal and mean nothing (RFC 9110 5.6.1.2).
      if (index > start) elements.push(header.slice(start, index).trim())
      start = index + 1
    }
  }
  return elements
}
