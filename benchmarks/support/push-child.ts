/** Pushes blobs as Docker does, over connections that stay open, as a process of its own; see `push`. */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http'
import type { PushRequest, PushResult } from './push-load.ts'

/** What is written at a time. */
const pieceSize = 1024 * 1024
/** Pieces that differ: their order makes the blob. */
const base = Array.from({ length: 16 }, () => randomBytes(pieceSize))

interface PushedBlob {
  readonly digest: string
  readonly pieces: readonly Uint8Array[]
}

process.on('message', async (request: PushRequest) => process.send?.(await run(request)))
process.on('disconnect', () => process.exit())

async function run({ url, blobs: count, bytes, connections }: PushRequest): Promise<PushResult> {
  // Made and hashed before the clock starts.
  const blobs = Array.from({ length: count }, (_, index) => blobOf(bytes, index))
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const milliseconds: number[] = []
  const startedAt = performance.now()
  const next = blobs.values()
  const work = async (): Promise<void> => {
    for (const blob of next) {
      const begunAt = performance.now()
      await pushBlob(url, blob, agent)
      milliseconds.push(performance.now() - begunAt)
    }
  }
  await Promise.all(Array.from({ length: connections }, work))
  agent.destroy()
  return { seconds: (performance.now() - startedAt) / 1000, milliseconds }
}

function blobOf(bytes: number, index: number): PushedBlob {
  const first = Buffer.alloc(8)
  first.writeUInt32BE(index)
  const pieces: Uint8Array[] = [first]
  for (let left = bytes - first.length, at = index; left > 0; at += 1) {
    const piece = base[at % base.length]?.subarray(0, left) ?? first
    pieces.push(piece)
    left -= piece.length
  }
  const hash = createHash('sha256')
  for (const piece of pieces) hash.update(piece)
  return { digest: `sha256:${hash.digest('hex')}`, pieces }
}

/** POST, PATCH with all of it and without its length, PUT with the digest. */
async function pushBlob(url: string, { digest, pieces }: PushedBlob, agent: Agent): Promise<void> {
  const begun = await send('POST', `${url}/blobs/uploads/`, [], agent)
  const patched = await send('PATCH', locationOf(begun, url), pieces, agent)
  const end = new URL(locationOf(patched, url))
  end.searchParams.set('digest', digest)
  const put = await send('PUT', end.href, [], agent)
  if (put.statusCode !== 201) throw new Error(`a push was answered with ${put.statusCode}`)
}

async function send(
  method: string,
  url: string,
  pieces: readonly Uint8Array[],
  agent: Agent,
): Promise<IncomingMessage> {
  const headers = pieces.length === 0 ? { 'content-length': 0 } : { 'transfer-encoding': 'chunked' }
  const request = httpRequest(url, { method, agent, headers })
  const answered = once(request, 'response')
  for (const piece of pieces) if (!request.write(piece)) await once(request, 'drain')
  request.end()
  const [response] = (await answered) as [IncomingMessage]
  response.resume()
  await once(response, 'end')
  return response
}

function locationOf({ headers, statusCode }: IncomingMessage, url: string): string {
  if (statusCode !== 202) throw new Error(`a push was answered with ${statusCode}`)
  return new URL(headers.location ?? '', url).href
}
