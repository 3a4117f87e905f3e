/**
 * The worker thread of `PrefixThread`: it answers each `PrefixRequest` but the last one of a hash by one `PrefixReply`. It
 * reads files by itself, a moment after they were written: from the page cache.
 */
import type { Hash } from 'node:crypto'
import { readSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'
import { createDigestHash, type DigestAlgorithm, finishDigest } from '../../oci/digest.ts'
import type { PrefixReply, PrefixRequest } from './prefix-thread.ts'

const port = parentPort
if (!port) throw new TypeError('prefix-hasher.ts runs in a worker thread')

interface Running {
  readonly algorithm: DigestAlgorithm
  readonly hash: Hash
}

/** Small enough to stay in the cache of a processor between the copy and the hash. */
const piece = Buffer.allocUnsafeSlow(256 * 1024)
const running = new Map<number, Running>()

port.on('message', (request: PrefixRequest) => {
  if (request.kind === 'end') running.delete(request.id)
  else port.postMessage(answer(request))
})

function answer(request: PrefixRequest): PrefixReply {
  try {
    return run(request)
  } catch (error) {
    const { message, code, errno, syscall } = error as NodeJS.ErrnoException
    return { error: { message, code, errno, syscall } }
  }
}

function run(request: PrefixRequest): PrefixReply {
  const { id } = request
  if (request.kind === 'begin') {
    running.set(id, { algorithm: request.algorithm, hash: createDigestHash(request.algorithm) })
    return {}
  }
  const one = running.get(id)
  if (!one) throw new Error(`there is no hash ${id}`)
  const { algorithm, hash } = one
  if (request.kind === 'bytes') hash.update(request.bytes)
  if (request.kind === 'file') return { read: read(hash, request.fd, request.start, request.end) }
  if (request.kind === 'copy') running.set(request.to, { algorithm, hash: hash.copy() })
  return request.kind === 'digest' ? { digest: finishDigest(hash.copy(), algorithm) } : {}
}

/** Returns how many bytes were hashed. Throws the file system's error where none was. */
function read(hash: Hash, fd: number, start: number, end: number): number {
  let at = start
  try {
    while (at < end) {
      const count = readSync(fd, piece, 0, Math.min(piece.length, end - at), at)
      if (count === 0) break
      hash.update(piece.subarray(0, count))
      at += count
    }
  } catch (error) {
    // Whoever asks for the next ones is told.
    if (at === start) throw error
  }
  return at - start
}
