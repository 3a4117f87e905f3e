/** What stands where a secret was. */
const redacted = '[redacted]'

/** Characters; what is longer is cut, after it was cleaned. */
const longestText = 16_384
const deepest = 8

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

// The parameters of the distribution-spec and of the token protocol that say what was asked, never who asked.
const publicParameters = new Set([
  'ns',
  'n',
  'last',
  'service',
  'scope',
  'digest',
  'mount',
  'from',
  'artifacttype',
])

// Each pattern starts at a fixed character and stops at the next one, so that hostile text costs linear time.
const userinfo = /(:\/\/)[^\s/?#"'<>]*@/g
const parameter = /([?&])([^\s=&?#"'<>]{1,100})=([^\s&#"'<>]*)/g
const credentials =
  /\b(Bearer|Basic|Negotiate)(\s+)(?!(?:realm|service|scope|error|auth|authentication|authorization|tokens?|challenge|credentials)\b)["']?[^\s"',;]+/gi
const header =
  /\b((?:proxy-)?authorization|(?:set-)?cookie)(\\*["']?\s{0,8}[:=]\s{0,8}\\*["']?)[^\r\n"'\\]+/gi
const assignment =
  /\b((?:access|refresh|id|identity|security)?[-_]?token|password|passwd|(?:client[-_]?)?secret|signature)(\\*["']?\s{0,8}[:=]\s{0,8}\\*)(?:"[^"]*"|'[^']*'|[^\s&,;"'}\]\\]+)/gi

/** What every pattern above needs to match. Most texts have nothing of it, and one look is enough. */
const suspicious =
  /:\/\/|[?&]|bearer|basic|negotiate|authorization|cookie|token|password|passwd|secret|signature/i

/** Tells whether a value under this key is a secret whatever it says. */
function isSecretKey(key: string): boolean {
  return secretKeys.has(key.replaceAll(/[-_]/g, '').toLowerCase())
}

/**
 * Cleans a text of credentials: userinfo and query values of URLs (except those that say what was asked for),
 * `Bearer` and `Basic` credentials, headers that carry them, and `token=...` and its like.
 */
export function redactText(text: string): string {
  const clean = suspicious.test(text) ? redactSuspicious(text) : text
  if (clean.length <= longestText) return clean
  return `${clean.slice(0, longestText)}... (${clean.length - longestText} more)`
}

function redactSuspicious(text: string): string {
  return text
    .replaceAll(userinfo, `$1${redacted}@`)
    .replaceAll(parameter, (whole: string, mark: string, name: string) =>
      publicParameters.has(name.toLowerCase()) ? whole : `${mark}${name}=${redacted}`,
    )
    .replaceAll(credentials, `$1$2${redacted}`)
    .replaceAll(header, (_, name: string, mark: string) => `${name}${mark}${redacted}`)
    .replaceAll(assignment, (_, name: string, mark: string) => `${name}${mark}${redacted}`)
}

/** A copy of a parsed JSON value in which every secret is replaced, in keys' values and inside every text. */
export function redactValue(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return redactText(value)
  if (typeof value !== 'object' || value === null) return value
  if (depth >= deepest) return '[too deep]'
  if (Array.isArray(value)) {
    return value.map((item, index) => {
      // Raw headers are a flat list of names and values.
      const before = value[index - 1]
      const isSecret = index % 2 === 1 && typeof before === 'string' && isSecretKey(before)
      return isSecret ? redacted : redactValue(item, depth + 1)
    })
  }
  const entries = Object.entries(value).map(([key, item]) => {
    const isEmpty = item === null || item === undefined || item === ''
    return [redactText(key), isSecretKey(key) && !isEmpty ? redacted : redactValue(item, depth + 1)] as const
  })
  return Object.fromEntries(entries)
}
