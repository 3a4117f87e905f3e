import type { FastifyReply } from 'fastify'

/**
 * Aborts when the client is gone before the answer ended. It listens to the socket too: an answer that waits behind
 * another one on the same connection (pipelining) is not told.
 */
export function clientSignal(reply: FastifyReply): AbortSignal {
  const gone = new AbortController()
  const { raw } = reply
  const { socket } = reply.request.raw
  const onClose = (): void => {
    if (!raw.writableFinished) gone.abort(new Error('the client has left'))
  }
  socket.once('close', onClose)
  raw.once('close', () => {
    socket.off('close', onClose)
    onClose()
  })
  return gone.signal
}
