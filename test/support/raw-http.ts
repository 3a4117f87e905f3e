import { connect } from 'node:net'

/** Writes bytes to a port as they are and resolves with all that comes back until the other side closes. */
export async function exchange(port: number, request: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  socket.setEncoding('latin1')
  socket.write(request, 'latin1')
  let answer = ''
  for await (const text of socket as AsyncIterable<string>) answer += text
  return answer
}
