import { RegistryError } from '../oci/error.ts'
import { isThisMachine } from './client-address.ts'
import { forwardingHeader } from './forwarding.ts'
import type { RequestContext } from './request-context.ts'
import type { Action } from './routing.ts'

/** Who may push (`local.push`). */
export type PushPolicy = 'off' | 'this-machine'

/**
 * Why somebody may not do this; undefined where they may. Everybody may pull. Only this machine may push, and neither
 * a proxy on it for others, nor a page in its browser: a page of anywhere can send requests to the loopback, and all
 * that write carry its Origin, which no registry's client sends.
 */
function refusalOf({ request }: RequestContext, action: Action, push: PushPolicy): string | undefined {
  if (action === 'pull') return undefined
  if (push === 'off') return 'pushing is switched off here (local.push: off in mirror.yml)'
  if (!isThisMachine(request.socket))
    return 'only the machine that this mirror runs on may push to it, by 127.0.0.1, [::1] or a Unix socket (local.push: this-machine in mirror.yml): push from there'
  const forwarding = forwardingHeader(request)
  if (forwarding !== undefined)
    return `only this machine may push, and a proxy says that it asks for somebody else (${forwarding}): push to the mirror itself`
  const isOfPage = /^(?:cross|same)-site$/.test(`${request.headers['sec-fetch-site'] ?? ''}`)
  if (request.headers.origin !== undefined || isOfPage) return 'nothing is pushed by a page in a browser'
  return undefined
}

/** Throws RegistryError DENIED (403) where whoever asks may not do this, with a sentence that says who may. */
export function admit(context: RequestContext, action: Action, push: PushPolicy): void {
  const refusal = refusalOf(context, action, push)
  if (refusal !== undefined) throw new RegistryError('DENIED', refusal)
}

/** Whether whoever asks may push, were it to a name that can be pushed. */
export function mayPush(context: RequestContext, push: PushPolicy): boolean {
  return refusalOf(context, 'push', push) === undefined
}
