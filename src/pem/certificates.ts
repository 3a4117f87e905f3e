import { X509Certificate } from 'node:crypto'
import { attempt, fail, type Instead, type PemFile, sayInstead } from './pem-file.ts'

/** A server's certificate, before those that signed it. */
export interface Chain extends PemFile {
  readonly certificates: readonly X509Certificate[]
}

const block = /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----.*?-----END [A-Z0-9 ]*CERTIFICATE-----/gs

const instead: readonly Instead[] = [
  [/^\s*$/, '$ is empty'],
  [/BEGIN (?:NEW )?CERTIFICATE REQUEST/, '$ holds the request for a certificate, and not what was signed'],
  [/BEGIN CERTIFICATE/, 'the certificate in $ is cut off'],
  [/BEGIN [A-Z ]*PRIVATE KEY/, '$ holds a private key, and no certificate'],
  [/(?:)/, '$ holds no certificate in PEM (-----BEGIN CERTIFICATE-----)'],
]

/** The certificates of a file in their order: one at least, and none that is damaged. Throws PemError. */
export function readCertificates(file: PemFile): readonly X509Certificate[] {
  const { name, bytes } = file
  const blocks = bytes.toString('latin1').match(block) ?? []
  const certificates = blocks.map((pem, index) => {
    const which = blocks.length === 1 ? 'the certificate' : `certificate ${index + 1} of ${blocks.length}`
    return attempt(() => new X509Certificate(pem)) ?? fail(`${which} in ${name} is damaged`)
  })
  if (certificates.length > 0) return certificates
  const isDer = attempt(() => new X509Certificate(bytes)) !== undefined
  if (isDer) fail(`${name} is in DER: turn it into PEM (openssl x509 -inform der -in ${name})`)
  return fail(sayInstead(instead, file))
}

/** Why nobody will trust what these authorities signed; undefined as long as one of them is valid. */
export function warnOfAuthorities(
  authorities: readonly X509Certificate[],
  { name }: PemFile,
): string | undefined {
  const last = Math.max(...authorities.map(({ validToDate }) => validToDate.getTime()))
  if (last >= Date.now()) return undefined
  return `what ${name} holds expired on ${day(last)}: no certificate of the registry will be trusted`
}

/** Why clients will refuse a chain; undefined while its first certificate, the server's own, is valid. */
export function warnOfChain({ name, certificates: [own] }: Chain): string | undefined {
  const [from = 0, to = 0] = [own?.validFromDate.getTime(), own?.validToDate.getTime()]
  if (to < Date.now()) return `${name} expired on ${day(to)}: clients will refuse it`
  if (from <= Date.now()) return undefined
  return `${name} is valid from ${day(from)} only: is the clock of this machine right?`
}

function day(milliseconds: number): string {
  return new Date(milliseconds).toISOString().slice(0, 10)
}
