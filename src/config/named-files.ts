import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import type { Config } from './config.ts'
import { fileFailure } from './file-failure.ts'
import type { Complaint } from './problems.ts'
import { UnitError } from './units.ts'
import { dotted, type ValuePath, valueAt } from './value-tree.ts'

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

/** What a file may hold instead of a certificate or a key, the first that fits; `$` is its name. */
const others = {
  certificate: [
    [/^\s*$/, '$ is empty'],
    [/BEGIN (?:NEW )?CERTIFICATE REQUEST/, '$ holds the request for a certificate, and not what was signed'],
    [/BEGIN CERTIFICATE/, 'the certificate in $ is cut off'],
    [/BEGIN [A-Z ]*PRIVATE KEY/, '$ holds a private key, and no certificate'],
    // Whatever is left.
    [/(?:)/, '$ holds no certificate in PEM (-----BEGIN CERTIFICATE-----)'],
  ],
  key: [
    [/^\s*$/, '$ is empty'],
    [
      /BEGIN ENCRYPTED PRIVATE KEY|Proc-Type: 4,ENCRYPTED/,
      '$ is encrypted, and nobody is asked for its passphrase: write it without (openssl pkey -in $)',
    ],
    [/BEGIN [A-Z ]*PRIVATE KEY/, 'the private key in $ cannot be read: '],
    [/BEGIN CERTIFICATE/, '$ holds a certificate, and no private key'],
    [/PUBLIC KEY/, '$ holds a public key, and no private one'],
    [/(?:)/, '$ holds no private key in PEM (-----BEGIN PRIVATE KEY-----)'],
  ],
} as const

/**
 * Opens every file that the values name: certificates, keys, authorities, passwords. The values need not be whole:
 * what is wrong with the files is told beside all else that is wrong. `refused` are dotted paths whose value cannot
 * stay. Returns the configuration with its passwords. Never throws for what the file system says.
 */
export async function readNamedFiles(
  config: Config,
  refused: ReadonlySet<string>,
): Promise<{ config: Config; complaints: readonly Complaint[] }> {
  const complaints: Complaint[] = []

  async function open<T>(path: ValuePath, read: (file: NamedFile) => T): Promise<T | undefined> {
    const name = valueAt(config, path)
    if (typeof name !== 'string' || refused.has(dotted(path))) return undefined
    const warn = (message: string) => void complaints.push({ path, severity: 'warning', message })
    try {
      return read({ name, warn, ...(await readWhole(name, path.at(-1) === 'passwordFile')) })
    } catch (error) {
      if (!(error instanceof UnitError)) throw error
      complaints.push({ path, message: error.message })
      return undefined
    }
  }

  const chain = await open(['server', 'tls', 'certificate'], readChain)
  await open(['server', 'tls', 'key'], (file) => {
    const key = readKey(file)
    if (chain) checkPair(chain, { ...file, key })
  })
  const upstreams = []
  for (const [index, upstream] of (config.upstreams ?? []).entries()) {
    await open(['upstreams', index, 'ca'], readAuthorities)
    const password = await open(['upstreams', index, 'passwordFile'], readPassword)
    upstreams.push(password === undefined ? upstream : { ...upstream, password })
  }
  return { config: { ...config, upstreams }, complaints }
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
  if (password === '') fail(`${name} is empty`)
  const isOpen = (mode & 0o004) !== 0 && !mountedSecret.test(name)
  if (isOpen) warn(`${name} can be read by every user of this machine: chmod 600 it`)
  return password
}

/** Certificate authorities: one that can be read at least, and none that is damaged. */
function readAuthorities(file: NamedFile): void {
  const last = Math.max(...readCertificates(file).map(({ validToDate }) => validToDate.getTime()))
  if (last >= Date.now()) return
  file.warn(`what ${file.name} holds expired on ${day(last)}: no certificate of the registry will be trusted`)
}

/** The server's certificate with its chain: the first one is the server's own. */
function readChain(file: NamedFile) {
  const { name, bytes, warn } = file
  const certificates = readCertificates(file)
  const [from = 0, to = 0] = [
    certificates[0]?.validFromDate.getTime(),
    certificates[0]?.validToDate.getTime(),
  ]
  if (to < Date.now()) warn(`${name} expired on ${day(to)}: clients will refuse it`)
  else if (from > Date.now())
    warn(`${name} is valid from ${day(from)} only: is the clock of this machine right?`)
  return { name, bytes, certificates }
}

function readCertificates({ name, bytes }: NamedFile): readonly X509Certificate[] {
  const text = bytes.toString('latin1')
  const blocks = text.match(certificateBlock) ?? []
  const certificates = blocks.map((block, index) => {
    const which = blocks.length === 1 ? 'the certificate' : `certificate ${index + 1} of ${blocks.length}`
    return attempt(() => new X509Certificate(block)) ?? fail(`${which} in ${name} is damaged`)
  })
  if (certificates.length > 0) return certificates
  const isDer = attempt(() => new X509Certificate(bytes)) !== undefined
  if (isDer) fail(`${name} is in DER: turn it into PEM (openssl x509 -inform der -in ${name})`)
  return fail(whatElse(others.certificate, text, name))
}

/** The server's private key, without a passphrase. */
function readKey({ name, bytes }: NamedFile): KeyObject {
  try {
    return createPrivateKey(bytes)
  } catch (refusal) {
    const forms = ['pkcs8', 'pkcs1', 'sec1'] as const
    const isDer = forms.some((type) => attempt(() => createPrivateKey({ key: bytes, format: 'der', type })))
    if (isDer) fail(`${name} is in DER: turn it into PEM (openssl pkey -inform der -in ${name})`)
    const why = whatElse(others.key, bytes.toString('latin1'), name)
    return fail(why + (why.endsWith(': ') ? fileFailure(refusal) : ''))
  }
}

function whatElse(forms: readonly (readonly [RegExp, string])[], text: string, name: string): string {
  const [, why = ''] = forms.find(([form]) => form.test(text)) ?? []
  return why.replaceAll('$', () => name)
}

/** Whether a chain and a key belong together, and are good enough for TLS. */
function checkPair(
  chain: ReturnType<typeof readChain>,
  { name, bytes, key }: NamedFile & { key: KeyObject },
) {
  const holder = chain.certificates.findIndex((one) => one.checkPrivateKey(key))
  if (holder < 0) fail(`${name} is the key of another certificate than ${chain.name}`)
  if (holder > 0) {
    fail(`the certificate of ${name} has to come first in ${chain.name}, before those that signed it`)
  }
  try {
    createSecureContext({ cert: chain.bytes, key: bytes })
  } catch (refusal) {
    // A key that is too short, say.
    fail(`${chain.name} and ${name} are refused for TLS: ${fileFailure(refusal)}`)
  }
}

function fail(message: string): never {
  throw new UnitError(message)
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}

function day(milliseconds: number): string {
  return new Date(milliseconds).toISOString().slice(0, 10)
}
