import { refuse, UnitError } from '../units/unit-error.ts'
import { parseUrl } from './upstream-url.ts'

/** The address by which clients reach this mirror: an origin, and a path that a web server in front takes off. Throws UnitError. */
export function parsePublicUrl(input: string): string {
  const url = parseUrl(input, 'https://mirror.example.com')
  if (url.username !== '' || url.password !== '')
    throw new UnitError('a public URL holds no user or password')
  if (/[?#]/.test(input)) refuse('a URL without "?" and "#"', input)
  return url.href.replace(/\/+$/, '').replace(/\/v2$/, '').replace(/\/+$/, '')
}
