import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Digest } from '../../src/oci/digest.ts'
import type { HubContent } from './hub-content.ts'
import type { Exchange } from './hub-exchange.ts'
import type { TestBlob } from './images.ts'

const prefix = '/registry-v2/docker/registry/v2/blobs'

/** The content delivery network of a look-alike: serves blobs at signed addresses that expire. */
export class HubCdn {
  readonly #content: HubContent
  readonly #lifetimeMs: number
  readonly #onSent: (digest: Digest, bytes: number) => void
  #secret = randomBytes(32)

  constructor(content: HubContent, lifetimeMs: number, onSent: (digest: Digest, bytes: number) => void) {
    this.#content = content
    this.#lifetimeMs = lifetimeMs
    this.#onSent = onSent
  }

  /** The path and query at which a blob can be had for a while. */
  sign(blob: TestBlob): string {
    const [algorithm = '', hex = ''] = blob.digest.split(':')
    const path = `${prefix}/${algorithm}/${hex.slice(0, 2)}/${hex}/data`
    const expires = ((Date.now() + this.#lifetimeMs) / 1000).toFixed(3)
    return `${path}?Expires=${expires}&Signature=${this.#signature(path, expires)}&Key-Pair-Id=LARDERTEST`
  }

  /** Makes all addresses signed so far worthless. */
  revokeAll(): void {
    this.#secret = randomBytes(32)
  }

  /** Answers 400 to a request with credentials and 403 to a bad signature, as S3 and CloudFront do. */
  async handle(exchange: Exchange): Promise<void> {
    const { record } = exchange
    const url = new URL(record.url, 'http://cdn')
    if (record.headers.authorization !== undefined) {
      return sendXml(exchange, 400, 'InvalidArgument', 'Only one auth mechanism allowed')
    }
    if (!this.#isSigned(url)) return sendXml(exchange, 403, 'AccessDenied', 'Request has expired')
    const blob = record.digest === undefined ? undefined : this.#content.anyBlob(record.digest)
    if (blob === undefined) return sendXml(exchange, 404, 'NoSuchKey', 'The specified key does not exist')
    await exchange.sendContent({ blob, headers: blobHeaders(blob), ranges: true, onSent: this.#onSent })
  }

  #isSigned(url: URL): boolean {
    const expires = url.searchParams.get('Expires') ?? ''
    const given = Buffer.from(url.searchParams.get('Signature') ?? '')
    const right = Buffer.from(this.#signature(url.pathname, expires))
    return (
      given.length === right.length && timingSafeEqual(given, right) && Date.now() < Number(expires) * 1000
    )
  }

  #signature(path: string, expires: string): string {
    return createHmac('sha256', this.#secret).update(`${path}?${expires}`).digest('base64url')
  }
}

/** The headers of a blob, without its length. */
export function blobHeaders(blob: TestBlob): Record<string, string> {
  return {
    'Content-Type': 'application/octet-stream',
    'Accept-Ranges': 'bytes',
    ETag: `"${blob.digest.slice(7, 39)}"`,
  }
}

function sendXml(exchange: Exchange, status: number, code: string, message: string): void {
  const body = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`
  exchange.send(status, { 'Content-Type': 'application/xml' }, body)
}
