/** A value that is not what was expected. The message says what was, and what was found instead. */
export class UnitError extends Error {
  override readonly name = 'UnitError'
}

/** Throws UnitError. Never for a secret: short text is repeated. */
export function refuse(expected: string, input: unknown, hint = ''): never {
  throw new UnitError(`expected ${expected}; got ${describeValue(input)}${hint}`)
}

/** Names a value for the "got ..." of an error message. Never use it for a secret: it repeats 60 characters of text. */
export function describeValue(value: unknown): string {
  if (value === undefined || value === null) return 'nothing'
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}...` : value)
  if (typeof value === 'object') return Array.isArray(value) ? 'a list' : 'a map'
  return String(value)
}
