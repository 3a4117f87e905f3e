import type { FastifyInstance } from 'fastify'
import type { RequestLog } from '../request-log.ts'
import { type StartPage, startPageHtml, startPagePolicy, startPageText } from '../start-page.ts'

export interface PagesOptions {
  readonly upstreams: StartPage['upstreams']
  /** Undefined where it is not remembered. */
  readonly wanted?: { readonly counts: StartPage['wanted'] } | undefined
  readonly pushers: string
  readonly requestLog: RequestLog
}

/** `/`: what this is and how to connect to it, as a page for a browser, as text for the others. */
export async function pages(
  app: FastifyInstance,
  { upstreams, wanted, pushers, requestLog }: PagesOptions,
): Promise<void> {
  app.route({
    method: ['GET', 'HEAD'],
    url: '/',
    handler: async (request, reply) => {
      const { url } = requestLog.of(request.raw, reply.raw).publicAddress
      const page = { url, upstreams, wanted: wanted?.counts ?? new Map(), pushers }
      // It shows the Host header, which is the sender's to choose: nobody may keep it for somebody else.
      reply.header('cache-control', 'no-store').header('vary', 'accept')
      if (!wantsHtml(request.headers.accept)) {
        reply.type('text/plain; charset=utf-8')
        return startPageText(page)
      }
      reply
        .type('text/html; charset=utf-8')
        .header('content-security-policy', startPagePolicy)
        .header('referrer-policy', 'no-referrer')
      return startPageHtml(page)
    },
  })
  // Browsers ask for it unbidden.
  app.route({
    method: ['GET', 'HEAD'],
    url: '/favicon.ico',
    handler: async (_, reply) => reply.code(204).header('cache-control', 'max-age=86400').send(),
  })
}

/** Whether an Accept header names HTML; the stars of curl and the like do not count. */
function wantsHtml(accept = ''): boolean {
  return accept
    .toLowerCase()
    .split(',')
    .some(
      (range) =>
        /^\s*(?:text\/html|application\/xhtml\+xml)\s*(?:;|$)/.test(range) &&
        !/;\s*q=0(?:\.0*)?\s*(?:;|$)/.test(range),
    )
}
