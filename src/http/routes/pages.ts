import type { FastifyInstance, FastifyRequest } from 'fastify'
import { type StartPage, startPageHtml, startPagePolicy, startPageText } from '../start-page.ts'

export interface PagesOptions {
  readonly upstreams: StartPage['upstreams']
}

/** Hosts as clients write them: a name or an address, and a port. Whatever else comes is not shown. */
const plainHost = /^(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?$/i
const maximumHostLength = 260

/** `/`: what this is and how to connect to it, as a page for a browser, as text for the others. */
export async function pages(app: FastifyInstance, { upstreams }: PagesOptions): Promise<void> {
  app.route({
    method: ['GET', 'HEAD'],
    url: '/',
    handler: async (request, reply) => {
      const page = { ...addressOf(request), upstreams }
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

function addressOf({ headers: { host = '' }, protocol }: FastifyRequest): Omit<StartPage, 'upstreams'> {
  const shown = host.length <= maximumHostLength && plainHost.test(host) ? host : 'MIRROR'
  return { origin: `${protocol}://${shown}`, host: shown }
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
