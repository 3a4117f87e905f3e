/** Longest piece of a person's own text that an error message repeats, in characters. */
const longestQuote = 60

/**
 * Names a value for the "got ..." of an error message. Never use it for a secret: it repeats short text.
 */
export function describeValue(value: unknown): string {
  if (value === undefined || value === null) return 'nothing'
  if (typeof value === 'string') return JSON.stringify(shorten(value))
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'a map'
  return String(value)
}

/** Names only the kind of a value, for secrets. */
export function describeKind(value: unknown): string {
  if (typeof value === 'string') return value === '' ? 'empty text' : 'text'
  if (typeof value === 'number') return 'a number'
  if (typeof value === 'boolean') return 'a boolean'
  return describeValue(value)
}

function shorten(text: string): string {
  return text.length > longestQuote ? `${text.slice(0, longestQuote)}...` : text
}
