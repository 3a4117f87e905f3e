/** One relation of a Link header. */
interface Link {
  /** The URI reference as the sender wrote it: relative or absolute, and not validated in any way. */
  readonly target: string
  /** Lower-case, such as `next`; empty where the link has no `rel`. */
  readonly relation: string
}

/** Characters; Node.js refuses longer headers by default, and none that is honest comes near. */
const maximumHeaderLength = 16 * 1024

/** What a Link header holds. */
export interface Links {
  readonly links: readonly Link[]
  /** Whether it was read to its end: nothing in it is malformed. */
  readonly isWhole: boolean
}

/**
 * Reads a Link header (RFC 8288 3), one entry for each relation of each link. Some write `rel='next'`, which the RFC
 * does not know: those quotes are left out.
 * Reading stops at the first thing that is malformed and keeps the links before it. Never throws.
 */
export function parseLinks(header: string | undefined): Links {
  const links: Link[] = []
  if (header === undefined) return { links, isWhole: true }
  if (header.length > maximumHeaderLength) return { links, isWhole: false }

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
    if (take(ending) === null) return { links, isWhole: false }
    const named = (relations ?? '')
      .toLowerCase()
      .replace(/^'(.*)'$/, '$1')
      .trim()
    for (const relation of named.split(/[ \t]+/)) links.push({ target: link[1] ?? '', relation })
  }
  return { links, isWhole: /^[ \t,]*$/.test(header.slice(position)) }
}

/**
 * The Link header that leads to the next page (distribution-spec end-8b): `<path?query>; rel="next"`.
 * `path` is one of our own routes and goes out as it is; in the query only what would end the link is encoded.
 */
export function formatNextLink(path: string, query: string): string {
  const safe = query.replaceAll(/[^!-~]|[<>"]/gu, encodeURIComponent)
  return `<${path}${safe === '' ? '' : `?${safe}`}>; rel="next"`
}
