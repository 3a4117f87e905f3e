/** What was read from a file that should be PEM (RFC 7468). */
export interface PemFile {
  /** As messages call it. */
  readonly name: string
  readonly bytes: Buffer
}

/** A file that does not hold what it should. The message names the file, and says what is in it and what to do. */
export class PemError extends Error {
  override readonly name = 'PemError'
}

/** A form of text that may be in a file instead, and what to say of it; `$` is the file's name. */
export type Instead = readonly [form: RegExp, words: string]

/** Says what a file holds instead: the first form that fits, of which the last one fits everything. */
export function sayInstead(forms: readonly Instead[], { name, bytes }: PemFile): string {
  const text = bytes.toString('latin1')
  const [, words = ''] = forms.find(([form]) => form.test(text)) ?? []
  return words.replaceAll('$', () => name)
}

export function fail(message: string, cause?: unknown): never {
  throw new PemError(message, { cause })
}

/** Undefined where it throws. */
export function attempt<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}
