import type { RequestListener } from 'node:http'
import type { Socket } from 'node:net'
import type { Forwarding } from './forwarding.ts'
import { frontDoor } from './front-door.ts'
import type { Handlers } from './listener.ts'
import type { LetGoReason } from './metrics.ts'
import type { RequestLog } from './request-log.ts'
import { letGoOfStalled } from './stalls.ts'

export interface ReceptionOptions {
  readonly forwarding: Forwarding
  readonly requestLog: RequestLog
  /** Milliseconds without a byte after which a client is let go. */
  readonly stallMs: number
  /** Hears of each that is. */
  readonly onLetGo: (reason: LetGoReason, socket: Socket) => void
}

/** What a request meets before it is routed: the record of it, and in its turn the watch over its client and the front door. */
export function reception(
  routing: RequestListener,
  { forwarding, requestLog, stallMs, onLetGo }: ReceptionOptions,
): Handlers {
  const door = frontDoor(routing, (request, response, { code, message, body }) => {
    Object.assign(requestLog.of(request, response), { refusal: `${code}: ${message}`, bytes: body.length })
  })
  const answer = letGoOfStalled(door, {
    stallMs,
    onStall: (request, response, stall, ms) => {
      const what = stall === 'taking' ? 'took nothing' : 'sent nothing'
      requestLog.of(request, response).breakOff(new Error(`the client ${what} for ${ms / 1000} s`))
      onLetGo(stall, request.socket)
    },
  })
  const onArrival: RequestListener = (request, response) => {
    request.url = forwarding.routedUrl(request)
    requestLog.of(request, response)
  }
  return { onArrival, answer }
}
