import type { Socket } from 'node:net'
import type { Ledger } from '../registry/ledger.ts'
import { clientAddress } from './client-address.ts'
import type { LetGoReason, Metrics } from './metrics.ts'

/** Why a pull is not whole where nobody knows what was asked for; where it is known, the line of the request tells. */
const lostPulls: Partial<Record<LetGoReason, string>> = {
  connections:
    'connections of this client were closed, being more than one may have (limits.perClient.connections)',
  crowd: 'connections of this client were closed, since too many of all clients were open (ulimit -n)',
  pipelining: 'a connection of this client was closed, since too many requests waited on it',
}

/** What hears of each connection that is closed before its client meant it to be; to be called while it is open. */
export function letGoListener(
  metrics: Pick<Metrics, 'countLetGo'>,
  ledger: Pick<Ledger, 'letGo'>,
): (letGo: LetGoReason, socket: Socket) => void {
  return (letGo, socket) => {
    metrics.countLetGo(letGo)
    const reason = lostPulls[letGo]
    if (reason !== undefined) ledger.letGo({ client: clientAddress(socket), reason, at: performance.now() })
  }
}
