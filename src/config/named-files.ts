import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import type { Config } from './config.ts'
import { fileFailure } from './file-failure.ts'
import { UnitError } from './units.ts'
import { dotted, type ValuePath, valueAt } from './value-tree.ts'

/** What is wrong with a file, or worth knowing about it. */
export interface Finding {
  /** Of the setting that names the file. */
  readonly path: ValuePath
  readonly severity: 'error' | 'warning'
  readonly message: string
}

interface NamedFile {
  readonly name: string
  readonly bytes: Buffer
  /** Permissions, as `stat` tells them. */
  readonly mode: number
  warn(message: string): void
}

/** Bytes; the largest bundles of authorities have a quarter of a megabyte. */
const largestFile = 16 * 1024 * 1024

const certificateBlock =
  /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----.*?-----END [A-Z0-9 ]*CERTIFICATE-----/gs

// Container runtimes mount secrets readable to all, inside a file system that only the container sees.
const mountedSecret = /^(?:\/var)?\/run\/secrets\//

/**
 * Opens every file that the values name: certificates, keys, authorities, passwords. The values need not be whole:
 * what is wrong with the files is told beside all else that is wrong. `ignored` are dotted paths whose value cannot
 * stay. Returns the configuration with its passwords. Never throws for what the file system says.
 */
export async function readNamedFiles(
  config: Config,
  ignored: ReadonlySet<string>,
): Promise<{ config: Config; findings: readonly Finding[] }> {
  const findings: Finding[] = []

  async function open<T>(path: ValuePath, read: (file: NamedFile) => T): Promise<T | undefined> {
    const name = valueAt(config, path)
    if (typeof name !== 'string' || ignored.has(dotted(path))) return undefined
    const warn = (message: string) => void findings.push({ path, severity: 'warning', message })
    return attempt(path, async () =>
      read({ name, warn, ...(await readWhole(name, path.at(-1) === 'passwordFile')) }),
    )
  }

  async function attempt<T>(path: ValuePath, read: () => T): Promise<Awaited<T> | undefined> {
    try {
      return await read()
    } catch (error) {
      if (!(error instanceof UnitError)) throw error
      findings.push({ path, severity: 'error', message: error.message })
      return undefined
    }
  }

  const keyPath = ['server', 'tls', 'key']
  const certificate = await open(['server', 'tls', 'certificate'], readCertificate)
  const key = await open(keyPath, readKey)
  if (certificate && key) await attempt(keyPath, () => checkPair(certificate, key))
  const upstreams = []
  for (const [index, upstream] of (config.upstreams ?? []).entries()) {
    await open(['upstreams', index, 'ca'], readAuthorities)
    const password = await open(['upstreams', index, 'passwordFile'], readPassword)
    upstreams.push(password === undefined ? upstream : { ...upstream, password })
  }
  return { config: { ...config, upstreams }, findings }
}

async function readWhole(name: string, isReadOnce: boolean): Promise<Pick<NamedFile, 'bytes' | 'mode'>> {
  try {
    const found = await stat(name)
    // It is read again when TLS starts; a pipe would then be empty, and some devices have no end.
    if (!isReadOnce && !found.isFile() && !found.isDirectory()) throw new Error('this is no regular file')
    if (found.size > largestFile) throw new Error('larger than 16 MiB')
    return { bytes: await readFile(name), mode: found.mode }
  } catch (error) {
    throw new UnitError(`cannot read ${name}: ${fileFailure(error)}`, { cause: error })
  }
}

/** A newline at its end is cut. */
function readPassword({ name, bytes, mode, warn }: NamedFile): string {
  const password = bytes.toString('utf8').replace(/\r?\n$/, '')
  if (password === '') throw new UnitError(`${name} is empty`)
  if ((mode & 0o004) !== 0 && !mountedSecret.test(name)) {
    warn(`${name} can be read by every user of this machine: chmod 600 it`)
  }
  return password
}

/** Certificate authorities: one that can be read at least, and none that is damaged. */
function readAuthorities(file: NamedFile): void {
  const last = Math.max(...readCertificates(file).map(({ validToDate }) => validToDate.getTime()))
  if (last >= Date.now()) return
  file.warn(`what ${file.name} holds expired on ${day(last)}: no certificate of the registry will be trusted`)
}

/** A certificate or key that is good by itself. */
interface Good<T> extends NamedFile {
  readonly content: T
}

/** The server's certificate with its chain: the first one is the server's own. */
function readCertificate(file: NamedFile): Good<[X509Certificate, ...X509Certificate[]]> {
  const content = readCertificates(file)
  const [from, to] = [content[0].validFromDate.getTime(), content[0].validToDate.getTime()]
  if (to < Date.now()) file.warn(`${file.name} expired on ${day(to)}: clients will refuse it`)
  else if (from > Date.now()) {
    file.warn(`${file.name} is valid from ${day(from)} only: is the clock of this machine right?`)
  }
  return { ...file, content }
}

function readCertificates({ name, bytes }: NamedFile): [X509Certificate, ...X509Certificate[]] {
  const blocks = bytes.toString('latin1').match(certificateBlock) ?? []
  const [first, ...more] = blocks.map((block, index) => {
    const which = blocks.length === 1 ? 'the certificate' : `certificate ${index + 1} of ${blocks.length}`
    return tried(() => new X509Certificate(block)) ?? fail(`${which} in ${name} is damaged`)
  })
  return first ? [first, ...more] : fail(whyNoCertificate(name, bytes))
}

function whyNoCertificate(name: string, bytes: Buffer): string {
  const text = bytes.toString('latin1')
  if (text.trim() === '') return `${name} is empty`
  if (/BEGIN (?:NEW )?CERTIFICATE REQUEST/.test(text)) {
    return `${name} holds the request for a certificate, and not what was signed`
  }
  if (text.includes('BEGIN CERTIFICATE')) return `the certificate in ${name} is cut off`
  if (/BEGIN [A-Z ]*PRIVATE KEY/.test(text)) return `${name} holds a private key, and no certificate`
  const isDer = tried(() => new X509Certificate(bytes))
  if (isDer) return `${name} is in DER: turn it into PEM (openssl x509 -inform der -in ${name})`
  return `${name} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)`
}

/** The server's private key, without a passphrase. */
function readKey(file: NamedFile): Good<KeyObject> {
  try {
    return { ...file, content: createPrivateKey(file.bytes) }
  } catch (refusal) {
    return fail(whyNoKey(file.name, file.bytes, refusal))
  }
}

function whyNoKey(name: string, bytes: Buffer, refusal: unknown): string {
  const text = bytes.toString('latin1')
  if (text.trim() === '') return `${name} is empty`
  if (/BEGIN ENCRYPTED PRIVATE KEY|Proc-Type: 4,ENCRYPTED/.test(text)) {
    return `${name} is encrypted, and nobody is asked for its passphrase: write it without (openssl pkey -in ${name})`
  }
  if (/BEGIN [A-Z ]*PRIVATE KEY/.test(text)) {
    return `the private key in ${name} cannot be read: ${fileFailure(refusal)}`
  }
  if (text.includes('BEGIN CERTIFICATE')) return `${name} holds a certificate, and no private key`
  if (text.includes('PUBLIC KEY')) return `${name} holds a public key, and no private one`
  const forms = ['pkcs8', 'pkcs1', 'sec1'] as const
  const isDer = forms.some((type) => tried(() => createPrivateKey({ key: bytes, format: 'der', type })))
  if (isDer) return `${name} is in DER: turn it into PEM (openssl pkey -inform der -in ${name})`
  return `${name} holds no private key in PEM (-----BEGIN PRIVATE KEY-----)`
}

/** Whether a certificate and a key belong together, and are good enough for TLS. */
function checkPair(certificate: Good<readonly X509Certificate[]>, key: Good<KeyObject>): void {
  const holder = certificate.content.findIndex((one) => one.checkPrivateKey(key.content))
  if (holder < 0) fail(`${key.name} is the key of another certificate than ${certificate.name}`)
  if (holder > 0) {
    fail(
      `the certificate of ${key.name} has to come first in ${certificate.name}, before those that signed it`,
    )
  }
  try {
    createSecureContext({ cert: certificate.bytes, key: key.bytes })
  } catch (refusal) {
    // A key that is too short, say.
    fail(`${certificate.name} and ${key.name} are refused for TLS: ${fileFailure(refusal)}`)
  }
}

function fail(message: string): never {
  throw new UnitError(message)
}

function tried<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}

function day(milliseconds: number): string {
  return new Date(milliseconds).toISOString().slice(0, 10)
}
