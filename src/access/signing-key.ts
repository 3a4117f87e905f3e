import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto'
import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Logger } from 'pino'
import { fileFailure } from '../units/file-failure.ts'

/** The pair of keys (Ed25519, RFC 8032) that tokens are signed and checked with. */
export interface SigningKey {
  readonly private: KeyObject
  readonly public: KeyObject
}

const largestFile = 4096

/**
 * The key in a file (PKCS #8, readable to this user alone), made where there is none. A damaged one, and one that others
 * can read, is replaced: all tokens live for minutes only. Where it cannot be kept, it is good for this run. Throws nothing.
 */
export async function openSigningKey(path: string, logger: Logger): Promise<SigningKey> {
  try {
    const kept = await read(path)
    if (kept) return pairOf(kept)
  } catch (error) {
    logger.warn(
      { file: path, reason: fileFailure(error) },
      'the key that tokens are signed with cannot be used: it is replaced, and clients get new tokens by themselves',
    )
  }
  const { privateKey } = generateKeyPairSync('ed25519')
  await keep(path, privateKey).catch((error: unknown) => {
    logger.warn(
      { file: path, reason: fileFailure(error) },
      'the key that tokens are signed with cannot be kept: the next start makes another one',
    )
  })
  return pairOf(privateKey)
}

/** Which key it is, in a few characters. */
export function keyId({ public: key }: SigningKey): string {
  return createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('base64url')
    .slice(0, 16)
}

function pairOf(privateKey: KeyObject): SigningKey {
  return { private: privateKey, public: createPublicKey(privateKey) }
}

/** Undefined where there is no file. */
async function read(path: string): Promise<KeyObject | undefined> {
  const file = await open(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (!file) return undefined
  await using _file = file
  const { mode, size } = await file.stat()
  if ((mode & 0o077) !== 0) throw new Error('others than its owner can read or write it')
  if (size > largestFile) throw new Error('it is no key')
  const key = parse(await file.readFile('utf8'))
  if (key?.asymmetricKeyType !== 'ed25519') throw new Error('it is no key')
  return key
}

/** Undefined for what is none: OpenSSL's words for that say nothing to anybody. */
function parse(pem: string): KeyObject | undefined {
  try {
    return createPrivateKey(pem)
  } catch {
    return undefined
  }
}

/** It is there whole or not at all, also after a power cut. */
async function keep(path: string, key: KeyObject): Promise<void> {
  const temporary = `${path}.new`
  try {
    // One that is left from a start that was cut short.
    await rm(temporary, { force: true })
    {
      await using file = await open(temporary, 'wx', 0o600)
      await file.writeFile(key.export({ type: 'pkcs8', format: 'pem' }))
      await file.sync()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {})
    throw error
  }
  await using folder = await open(dirname(path))
  await folder.sync()
}
