/** One part of a host's name (RFC 1123), in lower case. */
const label = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?'

/** A host's name, as the source of a regular expression. A name's first part alone, such as "campus", is one too. */
export const hostName = `${label}(?:\\.${label})*`
