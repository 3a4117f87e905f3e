// Control characters (C0, DEL, C1), line and paragraph separators, and what changes the direction of text: a
// terminal obeys them, and a reader of lines takes some for the end of one.
const unsafe = /[\p{Cc}\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu

/** Whether there is anything but printable ASCII, which needs no second look. */
const unusual = /[^ -~]/

const short: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }

/** A text on one line, with what a terminal would obey made visible as `\n` or `\u001b`. */
export function escapeText(text: string): string {
  if (!unusual.test(text)) return text
  return text.replaceAll(unsafe, (character) => short[character] ?? unicode(character))
}

/** The same for several lines: line feeds and tabs stay. */
export function escapeLines(text: string): string {
  return text.replaceAll(unsafe, (character) =>
    character === '\n' || character === '\t' ? character : (short[character] ?? unicode(character)),
  )
}

/** JSON on one line for every reader: JSON itself leaves U+2028, U+0085 and DEL as they are. */
export function toJsonLine(value: unknown): string {
  const json = JSON.stringify(value)
  // Counting bytes tells ASCII four times faster than looking for anything else.
  const isPlain = Buffer.byteLength(json) === json.length && !json.includes('\u007f')
  return `${isPlain ? json : json.replaceAll(unsafe, unicode)}\n`
}

function unicode(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}
