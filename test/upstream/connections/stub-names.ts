import dns, { type LookupAddress } from 'node:dns'
import { syncBuiltinESMExports } from 'node:module'
import { isIP, isIPv6 } from 'node:net'
import type { TestContext } from 'node:test'

type Callback = (error: Error | null, addresses: LookupAddress[]) => void

/**
 * Makes the system's resolver answer as told for the length of a test: `answer` gives the addresses of a name,
 * none for one that is unknown. An address stands for itself.
 */
export function stubNames(t: TestContext, answer: (name: string) => readonly string[]): void {
  const resolve = (name: string, _options: unknown, callback: Callback) => {
    const found = (isIP(name) ? [name] : answer(name)).map((address) => ({
      address,
      family: isIPv6(address) ? 6 : 4,
    }))
    const unknown = Object.assign(new Error(`getaddrinfo ENOTFOUND ${name}`), { code: 'ENOTFOUND' })
    setImmediate(() => callback(found.length > 0 ? null : unknown, found))
  }
  const stub = t.mock.method(dns, 'lookup', resolve as unknown as typeof dns.lookup)
  syncBuiltinESMExports()
  t.after(() => {
    stub.mock.restore()
    syncBuiltinESMExports()
  })
}
