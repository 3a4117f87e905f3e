/** One part of a host's name (RFC 1123), in lower case. */
const label = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?'

/** As Docker tells the host of a registry from the first part of a name: by a dot or a port, or it is "localhost". */
export function looksLikeRegistry(part: string): boolean {
  return /[.:]/.test(part) || part.toLowerCase() === 'localhost'
}

/** A host's name, as the source of a regular expression. A name's first part alone, such as "campus", is one too. */
export const hostName = `${label}(?:\\.${label})*`
