import { type BigIntStats, fstatSync } from 'node:fs'
import { constants, lstat, open } from 'node:fs/promises'
import type { Digest } from '../../oci/digest.ts'
import type { FileLook, StoredBlob } from '../blob-store.ts'
import { asStorageError, StorageError } from '../error.ts'
import { absentIfMissing, fileErrorCode } from './file-errors.ts'
import { sealedFile } from './sealed-file.ts'

/** For reading; neither follows a link nor waits for the other end of a pipe. */
export const plainFile = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/** A reader of the file of a blob, to be closed by the caller; undefined where there is no plain file. Throws the file system's own error. */
export async function openStoredFile(path: string, digest: Digest): Promise<StoredBlob | undefined> {
  const file = await absentIfMissing(open(path, plainFile)).catch(async (error: unknown) => {
    throw await deniedIfNotAllowed(error, path, digest)
  })
  if (!file) return undefined
  try {
    const stats = await file.stat({ bigint: true })
    if (!stats.isFile()) {
      await file.close()
      return undefined
    }
    const opened = lookOf(stats)
    const { size } = opened
    return {
      file: sealedFile(stats),
      opened,
      look: () => lookAt(file.fd, digest),
      size,
      isVerified: true,
      verified: async () => {},
      async read(buffer, position, options) {
        options?.signal?.throwIfAborted()
        if (position >= size || buffer.length === 0) return 0
        const reading = file.read(buffer, 0, Math.min(buffer.length, size - position), position)
        const { bytesRead } = await asStorageError(`${digest} could not be read`, reading)
        if (bytesRead > 0) return bytesRead
        throw new StorageError('CORRUPT', `${digest} became shorter while it was read`)
      },
      [Symbol.asyncDispose]: () => file.close(),
    }
  } catch (error) {
    await file.close()
    throw error
  }
}

/** A StorageError that says whose file it is, where this user may not read it; else the same error. */
export async function deniedIfNotAllowed(error: unknown, path: string, digest: Digest): Promise<unknown> {
  const code = fileErrorCode(error)
  if (code !== 'EACCES' && code !== 'EPERM') return error
  const owner = await lstat(path).then(
    ({ uid }) => uid,
    () => undefined,
  )
  const own = process.geteuid?.()
  const why =
    owner === undefined || owner === own
      ? 'its rights, or those of a folder above it, do not let this user read it'
      : `${path} belongs to user ${owner}, and this is user ${own}: give it to this user (chown ${own})`
  return new StorageError('DENIED', `${digest} may not be read: ${why}`, { cause: error })
}

/** At once: nobody reads the disk for what is known of an open file, and another thread would cost more. */
function lookAt(fd: number, digest: Digest): FileLook {
  try {
    return lookOf(fstatSync(fd, { bigint: true }))
  } catch (error) {
    throw StorageError.from(error, `${digest} could not be looked at`)
  }
}

/** The time of its change is nobody's to set, and moves with a rename and the loss of a name too. */
function lookOf(stats: BigIntStats): FileLook {
  const { ino, size, mtimeNs, ctimeNs } = stats
  return { ...sealedFile(stats), trace: `${ino} ${size} ${mtimeNs} ${ctimeNs}` }
}
