/** One relation of a Link header. */
export interface Link {
  /** The URI reference as the sender wrote it: relative or absolute, and not validated in any way. */
  readonly target: string
  /** Lower-case, such as `next`. */
  readonly relation: string
}

/** Characters; Node.js refuses longer headers by default, and none that is honest comes near. */
const maximumHeaderLength = 16 * 1024

/**
 * Reads a Link header (RFC 8288 3), one entry for each relation of each link. Links without `rel` are dropped.
 * Reading stops at the first thing that is malformed and keeps the links before it. Never throws.
 */
export function parseLink(header: string | undefined): Link[] {
  const links: Link[] = []
  if (header === undefined || header.length > maximumHeaderLength) return links

  const opening = /[ \t,]*<([^>]*)>/y
  const parameter = /[ \t]*;[ \t;]*(?:([^\s=;,<>"]+)[ \t]*(?:=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*)))?)?/y
  const ending = /[ \t]*(?:,|$)/y
  let position = 0
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = position
    const match = pattern.exec(header)
    if (match !== null) position = pattern.lastIndex
    return match
  }

  for (let link = take(opening); link !== null; link = take(opening)) {
    let relations: string | undefined
    for (let match = take(parameter); match !== null; match = take(parameter)) {
      const [, name, quoted, token] = match
      // Only the first rel counts (RFC 8288 3.3).
      if (name?.toLowerCase() === 'rel') relations ??= quoted?.replace(/\\(.)/g, '$1') ?? token ?? ''
    }
    if (take(ending) === null) break
    for (const relation of (relations ?? '').toLowerCase().split(/[ \t]+/)) {
      if (relation !== '') links.push({ target: link[1] ?? '', relation })
    }
  }
  return links
}

/**
 * The Link header that leads to the next page (distribution-spec end-8b): `<path?query>; rel="next"`.
 * `path` is one of our own routes and goes out as it is; the parameters are percent-encoded.
 */
export function formatNextLink(path: string, parameters: Record<string, string>): string {
  const query = new URLSearchParams(parameters).toString()
  return `<${path}${query === '' ? '' : `?${query}`}>; rel="next"`
}
