import { describeValue, refuse, UnitError } from '../units/unit-error.ts'

const label = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?'
// A name's first part in a URL: usually a host, but "campus" will do where `url` says where that is.
const registryName = new RegExp(`^${label}(?:\\.${label})*(?::\\d{1,5})?$`)
const redirectHost = new RegExp(`^(?:\\*\\.)?${label}(?:\\.${label})*(?::\\d{1,5})?$`)
const dockerHubAlias = /^(?:(?:registry-1|index|registry)\.docker\.io|(?:[a-z0-9-]+\.)*docker\.com)$/
/** Of no upstream: where repositories come from that were pushed here. */
const ownName = 'local'

/** A registry, as in names of images. Throws UnitError. */
export function parseRegistryName(input: string): string {
  if (dockerHubAlias.test(input)) {
    throw new UnitError(`Docker Hub is called "docker.io" here; got ${describeValue(input)}`)
  }
  if (input === ownName) {
    throw new UnitError(
      `"${ownName}" means what is pushed to this mirror: give the registry another name, and its url`,
    )
  }
  return registryName.test(input)
    ? input
    : refuse("a registry's host such as ghcr.io or localhost:5001", input)
}

/** The base of a registry's URLs, without `/v2` and a slash at the end. Throws UnitError. */
export function parseUpstreamUrl(input: string): string {
  const url = parseUrl(input, 'https://ghcr.io')
  if (url.username !== '' || url.password !== '') {
    throw new UnitError('a URL must not hold a user name or password: use username and password')
  }
  if (/[?#]/.test(input)) refuse('a URL without "?" and "#"', input)
  if (/(?:^|\.)docker\.io$/.test(url.hostname) && /^\/v1\/*$/.test(url.pathname)) {
    throw new UnitError(
      `${url.host}/v1/ is what Docker calls its login, not a registry: leave url away for docker.io`,
    )
  }
  // People copy it from a log or a test in the browser; the registry is the same.
  return url.href.replace(/\/+$/, '').replace(/\/v2$/, '').replace(/\/+$/, '')
}

/** A host (any port and, where the registry itself is at http, http too) or an origin. Throws UnitError. */
export function parseRealm(input: string): string {
  const url = parseUrl(input.includes('://') ? input : `https://${input}`, 'https://auth.example.com')
  if (url.username === '' && url.password === '') return input.includes('://') ? url.origin : url.host
  throw new UnitError('a realm must not hold a user name or password')
}

/** A host, or `*.` and a host, with a port or without. Throws UnitError. */
export function parseRedirectHost(input: string): string {
  const host = input.toLowerCase()
  return redirectHost.test(host) ? host : refuse('a host such as "cdn.example.com" or "*.example.com"', input)
}

/** The URL of a proxy. Throws UnitError. */
export function parseProxy(input: string): string {
  return parseUrl(input, 'http://proxy.lan:3128').href.replace(/\/+$/, '')
}

/** A URL with "(set)" for its user and password. */
export function withoutUserinfo(url: string): string {
  return url.replace(/\/\/[^/]*@/, '//(set)@')
}

/** A pattern of repositories: `*` is one part of a name, `**` one or more. Throws UnitError. */
export function checkPattern(pattern: string): string {
  const part = /^(?:\*\*|[a-z0-9*]+(?:[._-]+[a-z0-9*]+)*)$/
  const isPattern = pattern.length <= 255 && pattern.split('/').every((piece) => part.test(piece))
  return isPattern ? pattern : refuse('a pattern such as "*" or "local/**"', pattern)
}

function parseUrl(input: string, example: string): URL {
  const url = URL.parse(input)
  if (url && /^https?:\/\//i.test(input) && url.hostname !== '') return url
  const isBare = /^[a-z0-9.-]+(?::\d+)?(?:\/.*)?$/i.test(input)
  const hint = isBare ? `: begin with ${example.replace(/\/\/.*/, '//')}` : ''
  // The text is repeated only where it cannot hold a password.
  const got = input.includes('@') ? 'something else' : describeValue(input)
  throw new UnitError(`expected an http or https URL such as ${example}; got ${got}${hint}`)
}
