import { type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { RegistryError, type StatusOf } from '../oci/error.ts'
import { answerError } from './errors.ts'

/** What Node fails with where it cannot read a request. */
export interface ProtocolError extends Error {
  readonly code?: string
  /** What could not be read as HTTP. */
  readonly rawPacket?: Uint8Array
}

const statuses: Readonly<Record<string, StatusOf<'UNSUPPORTED'>>> = {
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
}

/**
 * Answers what is no HTTP, or does not come in time, in the place of Node, and ends its connection: without a word where
 * the answer to something else is under way (`current`), which the words would become a part of. `onError` hears of each
 * error first.
 */
export function refuseUnreadable(
  server: Server,
  current: (socket: Socket) => ServerResponse | undefined,
  onError: (error: ProtocolError, socket: Socket) => void,
): void {
  server.on('clientError', (error: ProtocolError, socket: Socket) => {
    onError(error, socket)
    const isOfHttp = error.code?.startsWith('HPE_') || error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
    if (isOfHttp && socket.writable && isItsOwn(current(socket))) socket.write(refusalOf(error))
    socket.destroy()
  })
}

/** Whether an answer is that to what cannot be read: there is no other one, or it is the rest of its request that cannot. */
function isItsOwn(response: ServerResponse | undefined): boolean {
  return response === undefined || !(response.req.complete || response.headersSent)
}

function refusalOf({ code = '', message }: ProtocolError): string {
  const status = statuses[code] ?? 400
  const error = new RegistryError('UNSUPPORTED', `this cannot be read as HTTP/1.1: ${message}`, { status })
  const { headers, body } = answerError(error, 'unknown')
  const fields = { ...headers, 'content-length': Buffer.byteLength(body), connection: 'close' }
  const head = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`)
  return `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${head.join('')}\r\n${body}`
}
