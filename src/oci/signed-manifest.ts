import { RegistryError } from './error.ts'
import { isJsonObject, parseJsonObject, textOf } from './json.ts'

/** Those who sign do so once; more are possible, not usual. */
const maximumSignatures = 16
const base64url = /^[A-Za-z0-9_-]*={0,2}$/

/**
 * What a signed Docker schema 1 manifest is the digest of: its bytes without the signatures, which registries make
 * anew each time. Each signature's protected header says where they were put in (`formatLength`) and what came after
 * (`formatTail`). Undefined where the bytes are no such manifest.
 * Throws RegistryError MANIFEST_INVALID where they are one, and its signatures say nonsense.
 */
export function signedPayload(bytes: Uint8Array): Uint8Array | undefined {
  const { signatures, ...rest } = parseJsonObject(bytes, unreadable)
  if (rest.schemaVersion !== 1 || !Array.isArray(rest.fsLayers)) return undefined
  if (!Array.isArray(signatures) || signatures.length === 0) return undefined
  if (signatures.length > maximumSignatures) throw invalid(`has more than ${maximumSignatures} signatures`)
  // Compared before anything is copied: each signature may claim the whole manifest.
  const [first, ...others] = signatures.map((signature) => cutOf(bytes, signature))
  if (!first || others.some(({ length, tail }) => length !== first.length || !tail.equals(first.tail))) {
    throw invalid('has signatures of different contents')
  }
  const payload = Buffer.concat([bytes.subarray(0, first.length), first.tail])
  // What is read with the signatures must be what the digest is of: a key may stand there twice.
  if (JSON.stringify(parseJsonObject(payload, invalid)) !== JSON.stringify(rest)) {
    throw invalid('has more in it than what is signed')
  }
  return payload
}

/** How many bytes of the manifest a signature is of, and what comes behind them. */
function cutOf(bytes: Uint8Array, signature: unknown): { length: number; tail: Buffer } {
  const header = isJsonObject(signature) ? decoded(signature.protected) : undefined
  if (!header) throw invalid('has a signature without a protected header')
  const { formatLength, formatTail } = parseJsonObject(header, invalid)
  const tail = decoded(formatTail)
  const isInside =
    Number.isInteger(formatLength) && Number(formatLength) > 0 && Number(formatLength) < bytes.length
  if (!isInside || !tail) throw invalid('has a signature that does not say what it signs')
  return { length: Number(formatLength), tail }
}

function decoded(value: unknown): Buffer | undefined {
  const text = textOf(value)
  return text !== undefined && base64url.test(text) ? Buffer.from(text, 'base64url') : undefined
}

/** It may be anything yet. */
function unreadable(problem: string, cause?: unknown): RegistryError {
  return new RegistryError('MANIFEST_INVALID', `The manifest ${problem}`, { cause })
}

function invalid(problem: string, cause?: unknown): RegistryError {
  return new RegistryError('MANIFEST_INVALID', `The signed manifest ${problem}`, { cause })
}
