import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify'
import type { Logger } from 'pino'
import type { CacheStatus } from '../mirror/manifests.ts'
import { RegistryError } from '../oci/error.ts'
import { answerError } from './errors.ts'
import type { Metrics } from './metrics.ts'
import { isRegistryUrl } from './name-routing.ts'
import { healthRoutes } from './routes/health.ts'
import { pages } from './routes/pages.ts'
import { PullRoutes, type PullRoutesOptions } from './routes/pull.ts'
import { cacheHeader } from './routes/question.ts'
import { StrayRequests } from './stray-requests.ts'

export interface ServerOptions extends PullRoutesOptions {
  readonly metrics: Metrics
  readonly logger: Logger
  /** Rejects where the store cannot be used. */
  readonly probe: () => Promise<void>
}

/** On every answer, for clients that look for them on errors too. */
const registryHeaders = {
  'docker-distribution-api-version': 'registry/2.0',
  'x-content-type-options': 'nosniff',
}

/** What describes a body that was meant to be sent, and never an error. */
const descriptive = [
  'content-length',
  'docker-content-digest',
  'etag',
  'cache-control',
  'accept-ranges',
  'age',
  'warning',
  'link',
]

/** The methods that have a route; those that write have it only to be refused. */
const served: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'])

/** A tag has up to 128 characters and a sha512 digest 135; Fastify's default of 100 would answer 404. */
const maximumParameterLength = 1024

/**
 * The HTTP application: `/`, `/v2/`, `/healthz`, `/readyz`, `/metrics`. It listens on nothing itself: `Listener` does,
 * and tests use `inject`.
 */
export async function buildServer(options: ServerOptions): Promise<FastifyInstance> {
  const { requestLog } = options
  const app = Fastify({
    loggerInstance: options.logger as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: maximumParameterLength },
    // What the router itself refuses, such as a malformed escape, gets the same shape of error.
    frameworkErrors: (error, request, reply) => sendError(error, request, reply),
  })
  app.setErrorHandler(sendError)
  const strayRequests = new StrayRequests(
    options.logger,
    options.router.upstreams.map(({ name }) => name),
  )
  app.setNotFoundHandler((request, reply) => {
    const { raw } = request
    const isOtherMethod = isRegistryUrl(raw.url ?? '') && !served.has(raw.method ?? '')
    sendError(isOtherMethod ? notServed(raw.method ?? '') : strayRequests.refuse(raw), request, reply)
  })
  // Every body that Fastify sends passes here; blobs are sent by a pump, which counts for itself.
  app.addHook('onSend', (request, reply, payload, done) => {
    const record = requestLog.of(request.raw, reply.raw)
    record.bytes = lengthOf(payload)
    record.cache ??= reply.getHeader(cacheHeader) as CacheStatus | undefined
    done()
  })
  const pull = new PullRoutes(options)
  // Everything that no other route is for: a registry's URL may stand below one more part (docs/routing.md).
  app.route({
    method: ['GET', 'HEAD'],
    url: '/*',
    handler: (request, reply) =>
      isRegistryUrl(request.raw.url ?? '') ? pull.handle(request, reply) : reply.callNotFound(),
  })
  app.route({
    method: ['POST', 'PUT', 'PATCH', 'DELETE'],
    url: '/*',
    onRequest: refuseWrite,
    handler: refuseWrite,
  })
  await app.register(healthRoutes, options)
  await app.register(pages, options)
  return app

  function sendError(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
    const record = requestLog.of(request.raw, reply.raw)
    const { status, headers, body, code, message } = answerError(error, record.subject?.kind ?? 'unknown')
    record.error = error
    record.refusal = `${code}: ${message}`
    record.bytes = Buffer.byteLength(body)
    // A body that was not read would be taken for the next request.
    if (request.raw.headers['content-length'] ?? request.raw.headers['transfer-encoding'])
      reply.header('connection', 'close')
    for (const name of descriptive) reply.removeHeader(name)
    reply.code(status).headers({ ...registryHeaders, ...headers })
    // Also for HEAD, where Node drops the body: the length is that of the GET.
    reply.send(body)
  }
}

async function refuseWrite(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  if (!isRegistryUrl(request.raw.url ?? '')) {
    reply.callNotFound()
    return reply
  }
  const message = 'this mirror only serves pulls: push to the upstream registry itself'
  throw new RegistryError('UNSUPPORTED', message, { allow: 'GET, HEAD' })
}

/** Of OPTIONS, TRACE and the like: the address is right, the method is not. */
function notServed(method: string): RegistryError {
  return new RegistryError('UNSUPPORTED', `${method} is no method of a registry`, { allow: 'GET, HEAD' })
}

function lengthOf(payload: unknown): number {
  if (typeof payload === 'string') return Buffer.byteLength(payload)
  return payload instanceof Uint8Array ? payload.length : 0
}
