import { stdSerializers } from 'pino'

/** What stands where a secret was. */
const redacted = '[redacted]'
const unreadable = '[unreadable]'

/** Characters; what is longer is cut, after it was cleaned. */
const longestText = 16_384
const deepest = 8
/** In one field: what refers to everything, as a socket does, or is long, as a buffer is, ends here. */
const mostValues = 1000
/** Keys that are remembered: a program has few, and what comes from outside is not to fill the memory. */
const mostKeys = 1000
const longestKey = 100

// Compared without case, "-" and "_".
const secretKeys = new Set([
  'authorization',
  'proxyauthorization',
  'cookie',
  'setcookie',
  'password',
  'passwd',
  'token',
  'accesstoken',
  'refreshtoken',
  'idtoken',
  'identitytoken',
  'registrytoken',
  'secret',
  'clientsecret',
  'apikey',
  'signature',
  'xamzsignature',
  'xamzsecuritytoken',
  'xregistryauth',
])

// Each pattern starts at a fixed character and stops at the next one, so that hostile text costs linear time.
const userinfo = /(:\/\/)[^\s/?#"'<>]*@/g
// The parameters of the distribution-spec and of the token protocol say what was asked, never who asked.
const parameter =
  /([?&])(?!(?:ns|n|last|service|scope|digest|mount|from|artifacttype)=)([^\s=&?#"'<>]{1,100})=[^\s&#"'<>]*/gi
const credentials =
  /\b(Bearer|Basic|Negotiate)(\s+)(?!(?:realm|service|scope|error|auth|authentication|authorization|tokens?|challenge|credentials)\b)["']?[^\s"',;]+/gi
const header =
  /\b((?:proxy-)?authorization|(?:set-)?cookie)(\\*["']?\s{0,8}[:=]\s{0,8}\\*["']?)[^\r\n"'\\]+/gi
const assignment =
  /\b((?:access|refresh|id|identity|security)?[-_]?token|password|passwd|(?:client[-_]?)?secret|signature)(\\*["']?\s{0,8}[:=]\s{0,8}\\*)(?:"[^"]*"|'[^']*'|[^\s&,;"'}\]\\]+)/gi

/**
 * What the last three need: one of their words before a separator. Looked for backwards from the separator, of which
 * there are few, this costs a fraction of looking for the words.
 */
const named =
  /[:=\s](?<=(?:authorization|cookie|token|password|passwd|secret|signature)\\*["']?\s{0,8}[:=]|(?:bearer|basic|negotiate)\s)/i

/**
 * Cleans a text of credentials: userinfo and query values of URLs (except those that say what was asked for),
 * `Bearer` and `Basic` credentials, headers that carry them, and `token=...` and its like.
 */
export function redactText(text: string): string {
  let clean = text
  // Most texts have nothing of all this, and these looks are all that they cost.
  if (clean.includes('@')) clean = clean.replaceAll(userinfo, `$1${redacted}@`)
  if (clean.includes('=')) clean = clean.replaceAll(parameter, `$1$2=${redacted}`)
  if (named.test(clean)) {
    clean = clean
      .replaceAll(credentials, `$1$2${redacted}`)
      .replaceAll(header, `$1$2${redacted}`)
      .replaceAll(assignment, `$1$2${redacted}`)
  }
  if (clean.length <= longestText) return clean
  return `${clean.slice(0, longestText)}... (${clean.length - longestText} more)`
}

interface Key {
  readonly clean: string
  /** Whether what stands under it is a secret whatever it says. */
  readonly isSecret: boolean
}

/** What a logger was told to do with a field, by its key. */
export type Serializers = Readonly<Record<string, ((value: unknown) => unknown) | undefined>>

/** Makes clean copies of whatever is logged, as JSON values: no secret under its key, and none inside a text. */
export class Redactor {
  readonly #keys = new Map<string, Key>()
  #valuesLeft = mostValues

  /** Copies the fields of an event into `clean`, each by its serializer where it has one. Throws nothing. */
  copyFields(fields: object, serializers: Serializers, clean: Record<string, unknown>): void {
    for (const name of Object.keys(fields)) {
      const key = this.#key(name)
      this.#valuesLeft = mostValues
      try {
        const value = (fields as Record<string, unknown>)[name]
        const serializer = serializers[name]
        const copy = this.#copyUnder(key, serializer ? serializer(value) : value, 1)
        if (copy !== undefined) clean[key.clean] = copy
      } catch {
        clean[key.clean] = unreadable
      }
    }
  }

  /** A copy of one value; undefined of what is none in JSON. Throws nothing. */
  copy(value: unknown): unknown {
    this.#valuesLeft = mostValues
    try {
      return this.#copy(value, 1)
    } catch {
      return unreadable
    }
  }

  #copyUnder({ isSecret }: Key, value: unknown, depth: number): unknown {
    const isEmpty = value === null || value === undefined || value === ''
    return isSecret && !isEmpty ? redacted : this.#copy(value, depth)
  }

  #copy(value: unknown, depth: number): unknown {
    switch (typeof value) {
      case 'string':
        return redactText(value)
      case 'number':
        return Number.isFinite(value) ? value : null
      case 'boolean':
        return value
      case 'bigint':
        return String(value)
      case 'object':
        return value === null ? null : this.#copyWithin(value, depth)
      default:
        return undefined
    }
  }

  #copyWithin(value: object, depth: number): unknown {
    if (depth >= deepest) return '[too deep]'
    if (Array.isArray(value)) return this.#copyList(value, depth + 1)
    if (value instanceof Error) return this.#copyObject(stdSerializers.err(value), depth + 1)
    return hasJson(value) ? this.#copy(value.toJSON(), depth + 1) : this.#copyObject(value, depth + 1)
  }

  #copyObject(value: object, depth: number): object {
    const clean: Record<string, unknown> = {}
    const entries = Object.entries(value)
    const affordable = this.#affordable(entries)
    for (const [name, item] of affordable) {
      const key = this.#key(name)
      const copy = this.#copyUnder(key, item, depth)
      if (copy !== undefined) clean[key.clean] = copy
    }
    if (affordable.length < entries.length) clean['...'] = `${entries.length - affordable.length} more`
    return clean
  }

  #copyList(list: readonly unknown[], depth: number): unknown[] {
    const affordable = this.#affordable(list)
    const clean = affordable.map((item, index) => {
      // Raw headers are a flat list of names and values.
      const before = list[index - 1]
      const isSecret = index % 2 === 1 && typeof before === 'string' && isSecretKey(before)
      return isSecret ? redacted : (this.#copy(item, depth) ?? null)
    })
    if (clean.length < list.length) clean.push(`... ${list.length - clean.length} more`)
    return clean
  }

  #affordable<Item>(items: readonly Item[]): readonly Item[] {
    const affordable = items.slice(0, this.#valuesLeft)
    this.#valuesLeft -= affordable.length
    return affordable
  }

  #key(name: string): Key {
    const known = this.#keys.get(name)
    if (known) return known
    // A field of that name would be the prototype of the others.
    const clean = name === '__proto__' ? '__proto__ ' : redactText(name)
    const key = { clean, isSecret: isSecretKey(name) }
    if (this.#keys.size < mostKeys && name.length <= longestKey) this.#keys.set(name, key)
    return key
  }
}

/** Dates, URLs, buffers. */
function hasJson(value: object): value is { toJSON(): unknown } {
  return 'toJSON' in value && typeof value.toJSON === 'function'
}

function isSecretKey(key: string): boolean {
  return secretKeys.has(key.replaceAll(/[-_]/g, '').toLowerCase())
}
