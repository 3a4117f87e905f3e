import { BlockList, isIPv6 } from 'node:net'
import ipaddr from 'ipaddr.js'
import { unixPeer } from '../names/networks.ts'

/** The proxies whose word is taken for whom they ask (`server.trustProxy`). */
export class TrustedProxies {
  readonly #networks = new BlockList()
  readonly #isUnixTrusted: boolean
  /** Whether nobody is. */
  readonly isEmpty: boolean

  /** `networks`: as `parseNetwork` reads them. */
  constructor(networks: readonly string[]) {
    this.isEmpty = networks.length === 0
    this.#isUnixTrusted = networks.includes(unixPeer)
    for (const network of networks.filter((one) => one !== unixPeer)) {
      const [address = '', bits] = network.split('/')
      const family = ipaddr.parse(address).kind()
      this.#networks.addSubnet(address, Number(bits ?? (family === 'ipv6' ? 128 : 32)), family)
    }
  }

  /** `address`: of the other end of a connection, or as another proxy tells it; undefined is a Unix socket. */
  has(address: string | undefined): boolean {
    if (address === undefined) return this.#isUnixTrusted
    // The interface that a link-local address belongs to.
    const [plain = ''] = address.split('%', 1)
    return this.#networks.check(plain, isIPv6(plain) ? 'ipv6' : 'ipv4')
  }
}
