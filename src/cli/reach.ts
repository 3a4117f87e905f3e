import { X509Certificate } from 'node:crypto'
import { BlockList, isIP, isIPv6 } from 'node:net'
import type { NetworkInterfaceInfo } from 'node:os'
import type { ListenAddress } from '../names/listen-address.ts'

/** Who can reach an address: every machine, this one alone, or programs that open a socket of the file system. */
type Scope = 'network' | 'machine' | 'socket'

/** One address that the server listens on, as clients write it. */
export interface Reach {
  /** `http://192.168.1.20:5000`, without a slash at the end, or `unix:/run/larder.sock`. */
  readonly url: string
  readonly scope: Scope
  /** `127.0.0.1:5000`, where Docker on this machine may pull by that name without any setting. */
  readonly nameHere: string | undefined
}

/** What can be told of the machine from here. */
export interface Machine {
  readonly interfaces: NodeJS.Dict<NetworkInterfaceInfo[]>
  /** The addresses are then those of the container, which other machines cannot reach. */
  readonly isContainer: boolean
  /** The address that a host name has; rejects where it has none. */
  lookup(name: string): Promise<string>
}

/** Stands where nobody here can know the address. */
export const unknownAddress = '<address of this machine>'

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

// Networks of containers, virtual machines and tunnels: other machines seldom mean those.
const inner = /^(?:docker|br-|veth|virbr|vnet|cni|flannel|cali|podman|lxc|lxd|tun|tap|wg|zt|tailscale)/

/**
 * How clients reach what is listened on. `ports` are those of the addresses that have one, in their order, since
 * port 0 is known only then; `certificate` is the PEM of the server's, undefined without TLS.
 */
export async function reaches(
  addresses: readonly ListenAddress[],
  ports: readonly number[],
  { machine, certificate }: { machine: Machine; certificate: string | undefined },
): Promise<Reach[]> {
  const scheme = certificate === undefined ? 'http' : 'https'
  const remaining = [...ports]
  const found: Reach[] = []
  for (const address of addresses) {
    if (address.path !== undefined) {
      found.push({ url: `unix:${address.path}`, scope: 'socket', nameHere: undefined })
      continue
    }
    const port = remaining.shift() ?? address.port
    const host = await boundHost(address.host, machine)
    const isEverywhere = isWildcard(host)
    const scope = isLoopback(host) ? 'machine' : 'network'
    const ofCertificate = certificate === undefined ? undefined : certificateName(certificate)
    const name = isEverywhere ? (ofCertificate ?? ownAddress(machine)) : (address.host ?? host)
    found.push({
      url: `${scheme}://${inUrl(name)}:${port}`,
      scope,
      nameHere: isEverywhere || scope === 'machine' ? `${nameHere(host, isEverywhere)}:${port}` : undefined,
    })
  }
  return found
}

async function boundHost(host: string | undefined, machine: Machine): Promise<string> {
  if (host === undefined) return '::'
  // A machine's own name often belongs to 127.0.1.1.
  return isIP(host) === 0 ? machine.lookup(host).catch(() => host) : host
}

function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || (isIPv6(host) && URL.parse(`http://[${host}]`)?.hostname === '[::]')
}

function isLoopback(host: string): boolean {
  const family = isIP(host)
  return family !== 0 && loopback.check(host, family === 6 ? 'ipv6' : 'ipv4')
}

/** Docker takes plain HTTP from 127.0.0.0/8 and "localhost" alone. */
function nameHere(host: string, isEverywhere: boolean): string {
  if (isEverywhere) return '127.0.0.1'
  return isIPv6(host) ? 'localhost' : host
}

function ownAddress({ interfaces, isContainer }: Machine): string {
  if (isContainer) return unknownAddress
  const all = Object.entries(interfaces).flatMap(([name, addresses = []]) =>
    addresses
      .filter(({ internal, address }) => !internal && !/^(?:169\.254\.|fe80:)/i.test(address))
      .map(({ address }) => ({ address, rank: (inner.test(name) ? 2 : 0) + (isIPv6(address) ? 1 : 0) })),
  )
  return all.toSorted((one, other) => one.rank - other.rank)[0]?.address ?? unknownAddress
}

/** The first name that clients can be given; undefined where the certificate has none. */
function certificateName(pem: string): string | undefined {
  const names = new X509Certificate(pem).subjectAltName?.split(', ') ?? []
  const hosts = names.filter((name) => name.startsWith('DNS:')).map((name) => name.slice('DNS:'.length))
  return hosts.find((host) => !host.includes('*') && host !== 'localhost')
}

function inUrl(host: string): string {
  return isIPv6(host) ? `[${host}]` : host
}
