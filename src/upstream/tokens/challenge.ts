/** One way to authenticate that a server offers (RFC 9110 11.3). */
export interface Challenge {
  /** Lower-case, such as `bearer`. */
  readonly scheme: string
  /** Unquoted values by lower-case name. Untrusted: a realm has to be validated before it is used. */
  readonly parameters: ReadonlyMap<string, string>
}

/** Characters; longer headers are ignored. */
const maximumHeaderLength = 16 * 1024

const token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
/** What some write without the quotes that it needs, such as a scope or a URL. */
const unquoted = '[!#-+\\--\\[\\]-~]+'
const elementEnd = '[ \\t]*(?:,|$)'

/**
 * Reads WWW-Authenticate headers (RFC 9110 11.6.1), which may hold several challenges each. Never throws.
 * Only complete challenges are returned: at an unterminated quote, or anything else that is malformed, the rest
 * of that header is dropped together with the challenge that it interrupts. A token68 is skipped. Of a parameter
 * that is given twice, which the RFC forbids, the first counts.
 */
export function parseChallenges(headers: string | readonly string[] | undefined): Challenge[] {
  if (headers === undefined) return []
  return (typeof headers === 'string' ? [headers] : headers).flatMap(parseHeader)
}

function parseHeader(header: string): Challenge[] {
  if (header.length > maximumHeaderLength) return []

  // Sticky patterns remember a position, hence they are made anew for each header.
  const separators = /[ \t,]*/y
  const schemeGrammar = new RegExp(`${token}(?=[ \\t,]|$)(?![ \\t]*=)`, 'y')
  const schemeAlone = new RegExp(elementEnd, 'y')
  const spaces = /[ \t]*/y
  const token68 = new RegExp(`[A-Za-z0-9._~+/-]+=*(?=${elementEnd})`, 'y')
  const parameter = new RegExp(
    `(${token})[ \\t]*=[ \\t]*(?:"((?:[^"\\\\]|\\\\.)*)"|(${unquoted}))(?=${elementEnd})`,
    'y',
  )

  let position = 0
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = position
    const match = pattern.exec(header)
    if (match !== null) position = pattern.lastIndex
    return match
  }
  const takeParameter = (parameters: Map<string, string>): boolean => {
    const match = take(parameter)
    if (match === null) return false
    const [, name = '', quoted, plain = ''] = match
    const key = name.toLowerCase()
    if (!parameters.has(key)) parameters.set(key, quoted?.replace(/\\(.)/g, '$1') ?? plain)
    return true
  }

  const complete: Challenge[] = []
  let open: { scheme: string; parameters: Map<string, string> } | undefined
  for (take(separators); position < header.length; take(separators)) {
    if (open !== undefined && takeParameter(open.parameters)) continue

    const scheme = take(schemeGrammar)?.[0].toLowerCase()
    if (scheme === undefined) return complete
    if (open !== undefined) complete.push(open)
    open = { scheme, parameters: new Map() }
    if (take(schemeAlone) !== null) continue
    take(spaces)
    if (take(token68) !== null) {
      complete.push(open)
      open = undefined
    } else if (!takeParameter(open.parameters)) {
      return complete
    }
  }
  if (open !== undefined) complete.push(open)
  return complete
}
