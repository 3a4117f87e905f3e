/** A JSON object of which nothing is known yet. */
export type JsonObject = Readonly<Record<string, unknown>>

const maximumDepth = 64

/**
 * Parses bytes as one JSON object in UTF-8 of at most 64 levels. Throws what `fail` makes of the problem, a phrase
 * that follows the name of the thing.
 */
export function parseJsonObject(
  bytes: Uint8Array,
  fail: (problem: string, cause?: unknown) => Error,
): JsonObject {
  if (nestsDeeper(bytes, maximumDepth)) throw fail(`nests deeper than ${maximumDepth} levels`)
  let value: unknown
  try {
    // A byte order mark is kept, so that JSON.parse refuses it like Go's parser does.
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch (error) {
    throw fail('is not JSON in UTF-8', error)
  }
  if (!isJsonObject(value)) throw fail('is not a JSON object')
  return value
}

/** Works on the bytes, before anything is parsed: no byte of a longer UTF-8 sequence looks like ASCII. */
function nestsDeeper(bytes: Uint8Array, maximum: number): boolean {
  let depth = 0
  let quoted = false
  for (let index = 0; index < bytes.length; index++) {
    const byte = bytes[index]
    if (quoted) {
      if (byte === 0x5c) index++
      else if (byte === 0x22) quoted = false
    } else if (byte === 0x22) {
      quoted = true
    } else if (byte === 0x7b || byte === 0x5b) {
      depth++
      if (depth > maximum) return true
    } else if (byte === 0x7d || byte === 0x5d) {
      depth--
    }
  }
  return false
}

/** Whether it is an object, neither an array nor null. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The value where it is a string. */
export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}
