import { once } from 'node:events'
import { lstat, rm } from 'node:fs/promises'
import { connect } from 'node:net'

/**
 * Removes the Unix socket that a process left behind which was killed. Throws an error as of `listen`, with the code
 * EADDRINUSE where somebody listens at it, and EEXIST where something else lies at the path, which stays.
 */
export async function removeStaleSocket(path: string): Promise<void> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    // Whether there may be a socket at all is told by `listen`, which follows.
    if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(error.code ?? '')) return undefined
    throw error
  })
  if (found === undefined) return
  if (!found.isSocket()) throw refusal('EEXIST', path, `something else than a socket lies at ${path}`)
  if (await isAbandoned(path)) await rm(path, { force: true })
  else throw refusal('EADDRINUSE', path, `somebody listens at ${path} already`)
}

/** Any other answer than a refusal comes from somebody: a full queue, another kind of socket, a lack of rights. */
async function isAbandoned(path: string): Promise<boolean> {
  const socket = connect(path)
  try {
    await once(socket, 'connect')
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ECONNREFUSED'
  } finally {
    socket.destroy()
  }
}

function refusal(code: string, path: string, message: string): Error {
  return Object.assign(new Error(message), { code, syscall: 'listen', address: path })
}
