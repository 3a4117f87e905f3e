import { constants } from 'node:os'

const { errno } = constants

/**
 * What a disk does to us. FULL: no room, or a quota is used up. READ_ONLY. BUSY: descriptors, memory or a lock are
 * short for a moment: try again. CORRUPT: what is stored is damaged. DENIED: a stored blob whose file this user may not read: it may be whole. BROKEN: everything else, bad sectors included.
 */
export type StorageErrorCode = 'FULL' | 'READ_ONLY' | 'BUSY' | 'CORRUPT' | 'DENIED' | 'BROKEN'

/** The disk failed, not the client and not an upstream. `cause` is what the file system or SQLite said. */
export class StorageError extends Error {
  readonly code: StorageErrorCode

  constructor(code: StorageErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'StorageError'
    this.code = code
  }

  /**
   * The same failure as a StorageError, where it is one of the file system or of SQLite; every other error (of a
   * caller, of the protocol, of a signal) comes back as it is. `what` could not be done: "blob sha256:... could not
   * be read".
   */
  static from(error: unknown, what: string): unknown {
    if (!(error instanceof Error) || error instanceof StorageError) return error
    const code = codeOf(error)
    return (code && new StorageError(code, `${what}: ${error.message}`, { cause: error })) || error
  }
}

/** What is stored was written by a later version of the program, and is left as it is. */
export class NewerDataError extends Error {
  readonly code = 'NEWER'

  /** `what` has which version, and which one this program knows. */
  constructor(what: string) {
    super(`${what}: start the newer program, or use another folder`)
  }
}

/** Something else has the place of a file or folder of ours, and is left as it is. */
export class MisplacedError extends Error {
  readonly code = 'MISPLACED'
}

/** Waits for `operation` and turns its failure into a StorageError; see `StorageError.from`. */
export async function asStorageError<Value>(what: string, operation: Promise<Value>): Promise<Value> {
  try {
    return await operation
  } catch (error) {
    throw StorageError.from(error, what)
  }
}

/** By number: Node has no name for EDQUOT. */
const codeByErrno: ReadonlyMap<number, StorageErrorCode> = new Map([
  [errno.ENOSPC, 'FULL'],
  [errno.EDQUOT, 'FULL'],
  [errno.EFBIG, 'FULL'],
  [errno.EROFS, 'READ_ONLY'],
  [errno.EMFILE, 'BUSY'],
  [errno.ENFILE, 'BUSY'],
  [errno.ENOMEM, 'BUSY'],
  [errno.EAGAIN, 'BUSY'],
])

// Primary result codes of SQLite (https://sqlite.org/rescode.html).
const codeBySqlite: Readonly<Record<number, StorageErrorCode>> = {
  5: 'BUSY',
  6: 'BUSY',
  7: 'BUSY',
  8: 'READ_ONLY',
  11: 'CORRUPT',
  13: 'FULL',
  26: 'CORRUPT',
}

/** Undefined for what neither the file system nor SQLite said. */
function codeOf(error: Error): StorageErrorCode | undefined {
  if ('errcode' in error) return codeBySqlite[Number(error.errcode) & 0xff] ?? 'BROKEN'
  // What Node makes up itself, such as ERR_FS_EISDIR, is a mistake of ours, or a thing in the way of a file.
  if (!('syscall' in error)) return undefined
  return codeByErrno.get('errno' in error ? Math.abs(Number(error.errno)) : 0) ?? 'BROKEN'
}
