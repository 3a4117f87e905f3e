import { bestEffort } from '../flow/best-effort.ts'
import { RegistryError } from '../oci/error.ts'
import type { UploadSession } from './upload-session.ts'

/** Uploads that are not at their end. */
const maximumSessions = 4096
/** Milliseconds after which one that has brought no byte makes room for another: clients begin some to see whether they may. */
const emptyMs = 60_000
const defaultIdleMs = 10 * 60_000

type Sessions = ReadonlyMap<string, UploadSession>

/** Makes place for one more upload. Throws RegistryError TOOMANYREQUESTS (429) where nothing can be let go. */
export function makePlace(sessions: Sessions): void {
  if (sessions.size < maximumSessions) return
  const before = Date.now() - emptyMs
  for (const session of sessions.values()) {
    if (!session.isIdle || !session.isEmpty || session.usedAt > before) continue
    void bestEffort(session.cancel(), () => {})
    return
  }
  const message = `${maximumSessions} uploads are under way here: finish or cancel some of them, or wait until they are purged (local.uploadTtl in mirror.yml)`
  throw new RegistryError('TOOMANYREQUESTS', message)
}

/**
 * Makes room for so many bytes more of an upload, where all together may have `space` bytes. Those go that nobody has
 * gone on with for `idleMs` milliseconds, the longest idle one first: never one whose client is at work. Throws
 * RegistryError SIZE_INVALID (413) where the upload alone is too large, TOOMANYREQUESTS (429) where others have the room.
 */
export async function makeRoom(
  sessions: Sessions,
  asking: UploadSession,
  bytes: number,
  {
    space = Number.POSITIVE_INFINITY,
    idleMs = defaultIdleMs,
  }: { readonly space: number | undefined; readonly idleMs: number | undefined },
): Promise<void> {
  const size = asking.size + bytes
  if (size > space) {
    const message = `the blob has ${size} bytes or more, and all that is being uploaded may have ${space} (local.uploadSpace in mirror.yml)`
    throw new RegistryError('SIZE_INVALID', message, { status: 413 })
  }
  const isShort = (): boolean => {
    let sum = bytes
    for (const session of sessions.values()) sum += session.size
    return sum > space
  }
  if (!isShort()) return
  const before = Date.now() - idleMs
  const forgotten = [...sessions.values()].filter(
    (session) => session !== asking && session.isIdle && session.usedAt < before,
  )
  for (const session of forgotten.toSorted((one, other) => one.usedAt - other.usedAt)) {
    if (session.isIdle) await bestEffort(session.cancel(), () => {})
    if (!isShort()) return
  }
  const message = `unfinished uploads have all of the ${space} bytes that they may have (local.uploadSpace in mirror.yml): finish or cancel some, or try again when they are purged (local.uploadTtl)`
  throw new RegistryError('TOOMANYREQUESTS', message)
}
