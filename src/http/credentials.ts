import type { IncomingMessage } from 'node:http'
import type { Login } from '../access/passwords.ts'

/** What an `Authorization` header brings: a name and a password (RFC 7617), or a token (RFC 6750). */
export type Credentials =
  | { readonly scheme: 'basic'; readonly login: Login }
  | { readonly scheme: 'bearer'; readonly token: string }

/** Undefined where there are none, or such as nobody can read; podman sends an empty name and password for none. */
export function credentialsOf({ headers: { authorization } }: IncomingMessage): Credentials | undefined {
  const [, scheme, value = ''] = /^(basic|bearer) +(\S+) *$/i.exec(authorization ?? '') ?? []
  if (scheme === undefined) return undefined
  if (scheme.toLowerCase() === 'bearer') return { scheme: 'bearer', token: value }
  const [, user, password] = /^([^:]*):(.*)$/s.exec(Buffer.from(value, 'base64').toString('utf8')) ?? []
  if (user === undefined || password === undefined || user + password === '') return undefined
  return { scheme: 'basic', login: { user, password } }
}
