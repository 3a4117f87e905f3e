import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'

/** An answer whose body is left on its connection, which is no longer Node's HTTP client's. */
export interface TakenAnswer {
  readonly response: IncomingMessage
  readonly socket: Socket
  /** What of the body came with the head. It lies in memory that is used again when the call returns. */
  readonly head: Buffer
  /** Whether the connection may serve again after the body, as far as the answer tells. */
  readonly staysOpen: boolean
}

export interface TakeoverOptions {
  /** Asked when the head of an answer is here, before anything of its body is given out. */
  readonly isWanted: (response: IncomingMessage) => boolean
  readonly onTaken: (answer: TakenAnswer) => void
}

/** What Node's HTTP client tells the parser by the return value: nothing of the rest is for it. */
const skipBodyAndLeaveConnection = 2

/** As the parser makes it. */
type ParsedMessage = IncomingMessage & { upgrade: boolean | null }
type Incoming = (response: ParsedMessage, shouldKeepAlive: boolean) => number

/**
 * Takes the connection of a request over as soon as its answer has a head that is wanted, on the way on which Node hands over a
 * connection that was upgraded: the head is parsed by Node's own parser, and nothing after it. To be called before the request
 * has a socket. `onIncoming` of a parser is not public: where there is none, no connection is taken over.
 */
export function takeOver(sent: ClientRequest, { isWanted, onTaken }: TakeoverOptions): void {
  let wanted: { readonly response: IncomingMessage; readonly staysOpen: boolean } | undefined
  let hasAnswer = false
  sent.once('socket', () => {
    const { parser } = sent as { parser?: { onIncoming?: Incoming } }
    const incoming = parser?.onIncoming
    if (!parser || typeof incoming !== 'function') return
    parser.onIncoming = function (response, shouldKeepAlive) {
      // There is one answer to a request, after those that are only information (RFC 9110 15.2): what comes behind it
      // answers nothing, and Node's client closes the connection.
      const isFirst = !hasAnswer
      hasAnswer ||= (response.statusCode ?? 0) >= 200
      if (!isFirst || response.upgrade || !isWanted(response))
        return incoming.call(this, response, shouldKeepAlive)
      wanted = { response, staysOpen: shouldKeepAlive }
      response.upgrade = true
      return skipBodyAndLeaveConnection
    }
  })
  sent.once('upgrade', (response, socket, head) => {
    if (wanted?.response === response) onTaken({ ...wanted, socket: socket as Socket, head })
  })
}
