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
