import assert from 'node:assert/strict'
import { once } from 'node:events'
import http, { type IncomingHttpHeaders } from 'node:http'
import type { TestBlob, TestImage } from './images.ts'

/** What a client was answered. */
export type Answered = {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  /** The code of the first error; undefined where there is none. */
  readonly code: string | undefined
  readonly message: string | undefined
}

export type SendOptions = {
  readonly headers?: Readonly<Record<string, string | number>>
  /** Bytes have a length; what comes in pieces is sent in chunks. */
  readonly body?: Uint8Array | AsyncIterable<Uint8Array> | Iterable<Uint8Array>
  readonly socketPath?: string
  readonly localAddress?: string
}

/** Sends one request on a connection of its own. A path may stand for a URL where `base` says what it belongs to. */
export async function send(method: string, url: string | URL, options: SendOptions = {}): Promise<Answered> {
  const { headers = {}, body, socketPath, localAddress } = options
  const request = http.request(url, { method, headers, agent: false, socketPath, localAddress })
  // Once it is answered, what becomes of the connection shows in the body of the answer, or is nothing to whoever asked.
  request.on('error', () => {})
  const answered = once(request, 'response')
  if (body instanceof Uint8Array) request.end(body)
  else if (body) {
    // A server that has answered need not read the rest.
    const isOver = answered.then(() => true)
    // While the body is awaited nobody waits for the answer: that it failed is told behind the body.
    isOver.catch(() => {})
    for await (const piece of body) {
      if (request.write(piece)) continue
      if (await Promise.race([isOver, once(request, 'drain').then(() => false)])) break
    }
    request.end()
  } else request.end()
  const [response] = await answered
  let text = ''
  for await (const piece of response.setEncoding('utf8')) text += piece
  const [error] = text.startsWith('{"errors"') ? JSON.parse(text).errors : []
  return {
    status: response.statusCode,
    headers: response.headers,
    text,
    code: error?.code,
    message: error?.message,
  }
}

/** Headers by which whoever pushes logs in. */
export type LoginHeaders = Readonly<Record<string, string>>

/** Begins an upload and returns its URL. `repository`: such as `http://127.0.0.1:5000/v2/app`. */
export async function beginUpload(repository: string, headers: LoginHeaders = {}): Promise<string> {
  const begun = await send('POST', `${repository}/blobs/uploads/`, { headers })
  assert.equal(begun.status, 202, begun.text)
  return new URL(begun.headers.location ?? '', repository).href
}

/** Pushes a blob as most clients do: POST, PATCH with all of it, PUT with the digest. */
export async function pushBlob(
  repository: string,
  { digest, bytes }: TestBlob,
  headers: LoginHeaders = {},
): Promise<void> {
  const url = await beginUpload(repository, headers)
  const patched = await send('PATCH', url, { headers, body: [bytes] })
  assert.equal(patched.status, 202, patched.text)
  const end = withDigest(new URL(patched.headers.location ?? '', url).href, digest)
  const put = await send('PUT', end, { headers })
  assert.deepEqual([put.status, put.headers['docker-content-digest']], [201, digest], put.text)
}

/** The URL that ends an upload. */
export function withDigest(url: string, digest: string): string {
  return `${url}?digest=${encodeURIComponent(digest)}`
}

/** Puts a manifest under a tag or its digest. */
export async function pushManifest(
  repository: string,
  reference: string,
  { bytes, mediaType }: TestBlob,
  headers: LoginHeaders = {},
): Promise<Answered> {
  return send('PUT', `${repository}/manifests/${reference}`, {
    body: bytes,
    headers: { 'content-type': mediaType, ...headers },
  })
}

/** Pushes an image, blobs first. */
export async function pushImage(
  repository: string,
  tag: string,
  image: TestImage,
  headers: LoginHeaders = {},
): Promise<void> {
  for (const blob of [image.config, ...image.layers]) await pushBlob(repository, blob, headers)
  const put = await pushManifest(repository, tag, image.manifest, headers)
  assert.equal(put.status, 201, put.text)
}
