import type { IncomingMessage } from 'node:http'

/** Headers by which a proxy tells that it asks for somebody else. */
const forwardingHeaders = [
  'forwarded',
  'x-forwarded-for',
  'x-original-forwarded-for',
  'x-forwarded-host',
  'x-real-ip',
  'x-client-ip',
  'x-cluster-client-ip',
  'true-client-ip',
  'cf-connecting-ip',
  'fly-client-ip',
  'via',
] as const

/** The header by which a proxy says that it asks for somebody else; undefined where there is none. */
export function forwardingHeader({ headers }: IncomingMessage): string | undefined {
  return forwardingHeaders.find((name) => headers[name] !== undefined)
}

/** Characters of it in the log. */
const maximumForwardedFor = 200

/**
 * For whom a proxy asks, as it says (X-Forwarded-For, Forwarded, X-Real-IP); for the log alone, since anybody can write
 * anything there. Of a long one the end is kept, which is what the proxy nearest to us has added.
 */
export function forwardedFor({ headers }: IncomingMessage): string | undefined {
  const told = headers['x-forwarded-for'] ?? headers.forwarded ?? headers['x-real-ip']
  if (told === undefined) return undefined
  return String(told)
    .slice(-maximumForwardedFor)
    .replaceAll(/[^ -~]/g, '?')
}
