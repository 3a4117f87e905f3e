import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { createSecureContext } from 'node:tls'

/** What is wrong with a file, or worth knowing about it. */
export interface Finding {
  readonly severity: 'error' | 'warning'
  readonly message: string
}

const certificateBlock =
  /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----.*?-----END [A-Z0-9 ]*CERTIFICATE-----/gs

/** Certificate authorities: one that can be read at least, and none that is damaged. */
export function checkAuthorities(path: string, bytes: Buffer): Finding[] {
  const { certificates, problem } = readCertificates(path, bytes)
  if (problem !== undefined) return [error(problem)]
  const last = Math.max(...certificates.map(({ validToDate }) => validToDate.getTime()))
  if (last >= Date.now()) return []
  return [
    warning(`what ${path} holds expired on ${day(last)}: no certificate of the registry will be trusted`),
  ]
}

/** The server's certificate with its chain: the first one is the server's own. */
export function checkCertificate(path: string, bytes: Buffer): Finding[] {
  const { certificates, problem } = readCertificates(path, bytes)
  if (problem !== undefined) return [error(problem)]
  const [own] = certificates
  if (own === undefined) return []
  const [from, to] = [own.validFromDate.getTime(), own.validToDate.getTime()]
  if (to < Date.now()) return [warning(`${path} expired on ${day(to)}: clients will refuse it`)]
  if (from > Date.now()) {
    return [warning(`${path} is valid from ${day(from)} only: is the clock of this machine right?`)]
  }
  return []
}

/** The server's private key, without a passphrase. */
export function checkKey(path: string, bytes: Buffer): Finding[] {
  return readKey(path, bytes).findings
}

/** Whether a certificate and a key that are good by themselves belong together. Says nothing where one is not. */
export function checkPair(
  certificate: { path: string; bytes: Buffer },
  key: { path: string; bytes: Buffer },
): Finding[] {
  const { certificates } = readCertificates(certificate.path, certificate.bytes)
  const privateKey = readKey(key.path, key.bytes).key
  const [own] = certificates
  if (own === undefined || privateKey === undefined) return []
  if (!own.checkPrivateKey(privateKey)) {
    const isLater = certificates.some((one) => one.checkPrivateKey(privateKey))
    const why = isLater
      ? `the certificate of ${key.path} has to come first in ${certificate.path}, before those that signed it`
      : `${key.path} is the key of another certificate than ${certificate.path}`
    return [error(why)]
  }
  try {
    createSecureContext({ cert: certificate.bytes, key: key.bytes })
    return []
  } catch (refusal) {
    // A key that is too short, say.
    return [error(`${certificate.path} and ${key.path} are refused for TLS: ${messageOf(refusal)}`)]
  }
}

interface Certificates {
  readonly certificates: readonly X509Certificate[]
  readonly problem: string | undefined
}

function readCertificates(path: string, bytes: Buffer): Certificates {
  const certificates: X509Certificate[] = []
  const blocks = bytes.toString('latin1').match(certificateBlock) ?? []
  for (const [index, block] of blocks.entries()) {
    const certificate = attempt(() => new X509Certificate(block))
    if (certificate === undefined) {
      const which = blocks.length === 1 ? 'the certificate' : `certificate ${index + 1} of ${blocks.length}`
      return { certificates: [], problem: `${which} in ${path} is damaged` }
    }
    certificates.push(certificate)
  }
  return { certificates, problem: certificates.length > 0 ? undefined : whyNoCertificate(path, bytes) }
}

function whyNoCertificate(path: string, bytes: Buffer): string {
  const text = bytes.toString('latin1')
  if (text.trim() === '') return `${path} is empty`
  if (/BEGIN (?:NEW )?CERTIFICATE REQUEST/.test(text)) {
    return `${path} holds the request for a certificate, and not what was signed`
  }
  if (text.includes('BEGIN CERTIFICATE')) return `the certificate in ${path} is cut off`
  if (/BEGIN [A-Z ]*PRIVATE KEY/.test(text)) return `${path} holds a private key, and no certificate`
  if (attempt(() => new X509Certificate(bytes))) {
    return `${path} is in DER: turn it into PEM (openssl x509 -inform der -in ${path})`
  }
  return `${path} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)`
}

function readKey(path: string, bytes: Buffer): { key: KeyObject | undefined; findings: Finding[] } {
  try {
    return { key: createPrivateKey(bytes), findings: [] }
  } catch (refusal) {
    return { key: undefined, findings: [error(whyNoKey(path, bytes, refusal))] }
  }
}

function whyNoKey(path: string, bytes: Buffer, refusal: unknown): string {
  const text = bytes.toString('latin1')
  if (text.trim() === '') return `${path} is empty`
  if (/BEGIN ENCRYPTED PRIVATE KEY|Proc-Type: 4,ENCRYPTED/.test(text)) {
    return `${path} is encrypted, and nobody is asked for its passphrase: write it without (openssl pkey -in ${path})`
  }
  if (/BEGIN [A-Z ]*PRIVATE KEY/.test(text)) {
    return `the private key in ${path} cannot be read: ${messageOf(refusal)}`
  }
  if (text.includes('BEGIN CERTIFICATE')) return `${path} holds a certificate, and no private key`
  if (text.includes('PUBLIC KEY')) return `${path} holds a public key, and no private one`
  const forms = ['pkcs8', 'pkcs1', 'sec1'] as const
  if (forms.some((type) => attempt(() => createPrivateKey({ key: bytes, format: 'der', type })))) {
    return `${path} is in DER: turn it into PEM (openssl pkey -inform der -in ${path})`
  }
  return `${path} holds no private key in PEM (-----BEGIN PRIVATE KEY-----)`
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}

function messageOf(problem: unknown): string {
  return problem instanceof Error ? problem.message : String(problem)
}

function day(milliseconds: number): string {
  return new Date(milliseconds).toISOString().slice(0, 10)
}

function error(message: string): Finding {
  return { severity: 'error', message }
}

function warning(message: string): Finding {
  return { severity: 'warning', message }
}
