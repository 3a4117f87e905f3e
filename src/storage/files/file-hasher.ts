/**
 * The worker thread of `HashingThread`: it answers each `HashRequest` by one `HashReply`. It reads by itself: hits find
 * all of libuv's threads free. Where nobody waits for it, it has the lowest priority, which is a thread's own on Linux.
 */
import { closeSync, constants, fstatSync, openSync, readlinkSync, readSync } from 'node:fs'
import { setPriority, constants as system } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { createDigestHash, type Digest, type DigestAlgorithm, finishDigest } from '../../oci/digest.ts'
import type { CheckedBlob } from '../blob-store.ts'
import { fileErrorCode } from './file-errors.ts'
import type { HashReply, HashRequest } from './hashing-thread.ts'
import { sealedFile } from './sealed-file.ts'
import { plainFile } from './stored-file.ts'

/** Of Node, which TypeScript knows of browsers only. */
declare const WebAssembly: { Memory: new (pages: { initial: number }) => { buffer: ArrayBuffer } }

const port = parentPort
if (!port) throw new TypeError('file-hasher.ts runs in a worker thread')

const pieceSize = 1024 * 1024
/** Milliseconds in which a disk that is not slow gives a piece. */
const quickMs = 5
/** Past the page cache, which keeps what clients read; and what it holds says nothing of the disk. Not on every system. */
const direct = constants.O_DIRECT ?? 0
/** Whatever is read past the page cache has to lie at the beginning of a page, as this memory does. */
const piece = new Uint8Array(new WebAssembly.Memory({ initial: pieceSize / 65_536 }).buffer)

if (!workerData.isAwaited) giveWay()
port.on('message', async (request: HashRequest) => {
  port.postMessage(await hash(request).catch(failure))
})

async function hash(request: HashRequest): Promise<HashReply> {
  if (request.isServed) return hashOpened(request, plainFile)
  try {
    return await hashOpened(request, plainFile | direct)
  } catch (error) {
    // The file system has no other way than through the page cache.
    if (fileErrorCode(error) !== 'EINVAL') throw error
    return hashOpened(request, plainFile)
  }
}

async function hashOpened({ path, algorithm, isGentle }: HashRequest, flags: number): Promise<CheckedBlob> {
  const descriptor = openSync(path, flags)
  try {
    const file = sealedFile(fstatSync(descriptor, { bigint: true }))
    return { file, actual: await digestOf(descriptor, file.size, algorithm, isGentle) }
  } finally {
    closeSync(descriptor)
  }
}

async function digestOf(
  descriptor: number,
  size: number,
  algorithm: DigestAlgorithm,
  isGentle: boolean,
): Promise<Digest> {
  const running = createDigestHash(algorithm)
  for (let position = 0; position < size; ) {
    const startedAt = performance.now()
    const count = readSync(descriptor, piece, 0, piece.length, position)
    const readMs = performance.now() - startedAt
    if (count === 0) break
    running.update(piece.subarray(0, Math.min(count, size - position)))
    position += count
    if (isGentle && readMs > quickMs) await sleep(readMs)
  }
  return finishDigest(running, algorithm)
}

/** What an error says in words of its own would not cross to the other thread. */
function failure(error: unknown): HashReply {
  const { message, code, errno, syscall } = error as NodeJS.ErrnoException
  return { error: { message, code, errno, syscall } }
}

function giveWay(): void {
  try {
    const thread = Number(readlinkSync('/proc/thread-self').split('/').at(-1))
    setPriority(thread, system.priority.PRIORITY_LOW)
  } catch {
    // Another system: it has the priority of the process.
  }
}
