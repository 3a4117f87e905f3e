import { createPrivateKey, type KeyObject } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import { type Chain, readCertificates } from './certificates.ts'
import { attempt, fail, type Instead, type PemFile, sayInstead } from './pem-file.ts'

const unreadable = 'the private key in $ cannot be read'

const instead: readonly Instead[] = [
  [/^\s*$/, '$ is empty'],
  [
    /BEGIN ENCRYPTED PRIVATE KEY|Proc-Type: 4,ENCRYPTED/,
    '$ is encrypted, and nobody is asked for its passphrase: write it without (openssl pkey -in $)',
  ],
  [/BEGIN [A-Z ]*PRIVATE KEY/, unreadable],
  [/BEGIN CERTIFICATE/, '$ holds a certificate, and no private key'],
  [/PUBLIC KEY/, '$ holds a public key, and no private one'],
  [/(?:)/, '$ holds no private key in PEM (-----BEGIN PRIVATE KEY-----)'],
]

/** A server's private key, without a passphrase. */
export interface Key extends PemFile {
  readonly key: KeyObject
}

/** Throws PemError. */
export function readChain(file: PemFile): Chain {
  return { ...file, certificates: readCertificates(file) }
}

/** Throws PemError. */
export function readKey(file: PemFile): Key {
  const { name, bytes } = file
  try {
    return { ...file, key: createPrivateKey(bytes) }
  } catch (refusal) {
    const forms = ['pkcs8', 'pkcs1', 'sec1'] as const
    const isDer = forms.some((type) => attempt(() => createPrivateKey({ key: bytes, format: 'der', type })))
    if (isDer) fail(`${name} is in DER: turn it into PEM (openssl pkey -inform der -in ${name})`)
    const words = sayInstead(instead, file)
    const isKey = words === unreadable.replace('$', () => name)
    return fail(isKey ? `${words}: ${messageOf(refusal)}` : words, refusal)
  }
}

/** Throws PemError where a chain and a key do not belong together, or are not good enough for TLS. */
export function checkPair(chain: Chain, { name, bytes, key }: Key): void {
  const holder = chain.certificates.findIndex((one) => one.checkPrivateKey(key))
  if (holder < 0) fail(`${name} is the key of another certificate than ${chain.name}`)
  if (holder > 0) {
    fail(`the certificate of ${name} has to come first in ${chain.name}, before those that signed it`)
  }
  try {
    createSecureContext({ cert: chain.bytes, key: bytes })
  } catch (refusal) {
    // A key that is too short, say.
    fail(`${chain.name} and ${name} are refused for TLS: ${messageOf(refusal)}`, refusal)
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
