import { createHash } from 'node:crypto'
import { UnitError } from '../units/unit-error.ts'

/** The bcrypt hash of each user's password, by name. */
export type Users = ReadonlyMap<string, string>

/** The work of one check doubles with each: at 14 it takes a second on a small machine. */
const maximumCost = 14
const maximumNameLength = 255
/** Of such a file, in bytes. */
export const largestFile = 1024 * 1024
/** Problems that are told at once. */
const maximumTold = 5

/** What else stands in such files, by how it begins; none of it is safe to keep a password in, but for the last two. */
const otherFormats: readonly (readonly [RegExp, string])[] = [
  [/^\$apr1\$/, 'an MD5 hash (apr1)'],
  [/^\$1\$/, 'an MD5 hash (crypt)'],
  [/^\{SHA\}/i, 'a SHA-1 hash'],
  [/^\{SSHA\}/i, 'a salted SHA-1 hash'],
  [/^\$2x?\$/, 'a hash of an old, faulty bcrypt'],
  [/^\$5\$/, 'a SHA-256 hash (crypt)'],
  [/^\$6\$/, 'a SHA-512 hash (crypt)'],
  [/^\$7\$|^\$scrypt\$/, 'an scrypt hash'],
  [/^\$y\$/, 'a yescrypt hash'],
  [/^\$argon2/, 'an Argon2 hash'],
]

/**
 * Reads a file of users as `htpasswd -B` writes it: `name:hash` on each line, comments (`#`) and blank lines between.
 * A line that is cut short, two lines for one name, and hashes other than bcrypt's are mistakes: a user who is left out
 * in silence would only find that the password is wrong. Throws UnitError with what is wrong and where; a line is never
 * repeated, since it may be a password.
 */
export function parseHtpasswd(text: string): Users {
  if (Buffer.byteLength(text) > largestFile) throw new UnitError('larger than 1 MiB')
  const users = new Map<string, string>()
  const lineOf = new Map<string, number>()
  const problems: string[] = []
  for (const [index, line] of text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue
    const [, name = '', hash = ''] = /^([^:]*):(.*)$/s.exec(line) ?? []
    const first = lineOf.get(name)
    const problem = line.includes(':')
      ? (problemOfName(name) ?? problemOfHash(name, hash) ?? problemOfDouble(name, first))
      : 'has no colon between a name and a hash'
    if (problem === undefined) users.set(name, hash)
    else problems.push(`line ${index + 1} ${problem}`)
    lineOf.set(name, first ?? index + 1)
  }
  if (problems.length > 0) {
    const more = problems.length > maximumTold ? ` (and ${problems.length - maximumTold} more)` : ''
    throw new UnitError(problems.slice(0, maximumTold).join('; ') + more)
  }
  return users
}

/** Of a hash, of which nothing can be told from it: the salt in it has 128 bits that nobody knows. */
export function fingerprintOf(hash: string): string {
  return createHash('sha256').update(hash).digest('base64url').slice(0, 22)
}

function problemOfName(name: string): string | undefined {
  if (name === '') return 'has no name before the colon'
  if (name.length > maximumNameLength) return `has a name longer than ${maximumNameLength} characters`
  if (name !== name.trim()) return 'has a space before or behind the name'
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for.
  return /[\u0000-\u001F\u007F\uFFFD]/.test(name) ? 'has a name with characters that are none' : undefined
}

function problemOfHash(name: string, hash: string): string | undefined {
  const whose = `(${name}) has`
  const [, cost] = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/.exec(hash) ?? []
  if (cost !== undefined) {
    if (Number(cost) > maximumCost)
      return `${whose} a hash of cost ${Number(cost)}: at most ${maximumCost}, or a few logins would keep this machine busy`
    return Number(cost) < 4 ? `${whose} a hash of a cost that there is not` : undefined
  }
  if (/^\$2[aby]\$/.test(hash)) return `${whose} a bcrypt hash that is cut short, or has something behind it`
  const [, format = 'no bcrypt hash'] = otherFormats.find(([pattern]) => pattern.test(hash)) ?? []
  return `${whose} ${hash === '' ? 'no hash' : format}: only bcrypt is taken; write it anew with htpasswd -B`
}

function problemOfDouble(name: string, first: number | undefined): string | undefined {
  return first === undefined ? undefined : `is another one for ${name}, who is in line ${first} already`
}
