import { describeValue, refuse, UnitError } from '../units/unit-error.ts'
import { dockerHub } from './docker-hub.ts'
import { hostName } from './host.ts'

const registryName = new RegExp(`^${hostName}(?::\\d{1,5})?$`)
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

/** What the registry at a URL is called; Docker Hub where its address cannot be a name: a mirror of it, before this one. */
export function registryAt(url: string): string {
  const host = URL.parse(url)?.host ?? ''
  const isName = host !== 'registry-1.docker.io' && /^[a-z0-9-]+[.:][a-z0-9.:-]*$/.test(host)
  return isName ? host : dockerHub.name
}

/** The URL of a proxy. Throws UnitError. */
export function parseProxy(input: string): string {
  return parseUrl(input, 'http://proxy.lan:3128').href.replace(/\/+$/, '')
}

/** A URL with "(set)" for its user and password. */
export function withoutUserinfo(url: string): string {
  return url.replace(/\/\/[^/]*@/, '//(set)@')
}

/** An http or https URL; the text is repeated only where it cannot hold a password. Throws UnitError. */
export function parseUrl(input: string, example: string): URL {
  const url = URL.parse(input)
  if (url && /^https?:\/\//i.test(input) && url.hostname !== '') return url
  const isBare = /^[a-z0-9.-]+(?::\d+)?(?:\/.*)?$/i.test(input)
  const hint = isBare ? `: begin with ${example.replace(/\/\/.*/, '//')}` : ''
  const got = input.includes('@') ? 'something else' : describeValue(input)
  throw new UnitError(`expected an http or https URL such as ${example}; got ${got}${hint}`)
}
