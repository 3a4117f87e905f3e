import type { IncomingMessage } from 'node:http'
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify'
import type { Logger } from 'pino'
import { RegistryError } from '../oci/error.ts'
import { answerError, isUnexpected } from './errors.ts'
import type { Metrics } from './metrics.ts'
import { parseRegistryUrl, type RegistryTarget } from './name-routing.ts'
import { healthRoutes } from './routes/health.ts'
import { PullRoutes, type PullRoutesOptions } from './routes/pull.ts'

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

/** A tag has up to 128 characters and a sha512 digest 135; Fastify's default of 100 would answer 404. */
const maximumParameterLength = 1024

/**
 * The HTTP application: `/v2/`, `/healthz`, `/readyz`, `/metrics`. It listens on nothing itself: `Listener` does,
 * and tests use `inject`.
 */
export async function buildServer(options: ServerOptions): Promise<FastifyInstance> {
  const refusals = new WeakMap<IncomingMessage, string>()
  const app = Fastify({
    loggerInstance: options.logger as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: maximumParameterLength },
    // What the router itself refuses, such as a malformed escape, gets the same shape of error.
    frameworkErrors: (error, request, reply) => sendError(error, request, reply),
  })
  app.setErrorHandler(sendError)
  app.setNotFoundHandler((request, reply) => {
    sendError(
      new RegistryError('UNSUPPORTED', 'there is nothing at this path', { status: 404 }),
      request,
      reply,
    )
  })
  app.addHook('onResponse', async (request, reply) =>
    recordAnswer(options, request, reply, refusals.get(request.raw)),
  )
  const pull = new PullRoutes(options)
  for (const url of ['/v2', '/v2/', '/v2/*']) {
    app.route({ method: ['GET', 'HEAD'], url, handler: (request, reply) => pull.handle(request, reply) })
    app.route({
      method: ['POST', 'PUT', 'PATCH', 'DELETE'],
      url,
      onRequest: refuseWrite,
      handler: refuseWrite,
    })
  }
  await app.register(healthRoutes, options)
  return app

  function sendError(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
    if (isUnexpected(error)) options.logger.error({ err: error, url: request.raw.url }, 'a request failed')
    const { status, headers, body, code, message } = answerError(error, kindOf(request))
    refusals.set(request.raw, `${code}: ${message}`)
    // A body that was not read would be taken for the next request.
    if (request.raw.headers['content-length'] ?? request.raw.headers['transfer-encoding'])
      reply.header('connection', 'close')
    reply.removeHeader('content-length')
    reply.code(status).headers({ ...registryHeaders, ...headers })
    // Also for HEAD, where Node drops the body: the length is that of the GET.
    reply.send(body)
  }
}

async function refuseWrite(): Promise<never> {
  const message = 'this mirror only serves pulls: push to the upstream registry itself'
  throw new RegistryError('UNSUPPORTED', message, { allow: 'GET, HEAD' })
}

function kindOf(request: FastifyRequest): RegistryTarget['kind'] {
  try {
    return parseRegistryUrl(request.raw.url ?? '').target.kind
  } catch {
    return 'unknown'
  }
}

/** One line and one count for each answer below /v2/, also for those that a client broke off. */
function recordAnswer(
  { metrics, logger }: ServerOptions,
  request: FastifyRequest,
  reply: FastifyReply,
  refusal: string | undefined,
): void {
  const { url = '' } = request.raw
  if (!url.startsWith('/v2')) return
  const cache = String(reply.getHeader('x-larder-cache') ?? '')
  const isComplete = reply.raw.writableFinished
  const hasBody = request.method === 'GET' && reply.raw.statusCode < 300
  const bytes = hasBody && isComplete ? Number(reply.getHeader('content-length') ?? 0) : 0
  const seconds = reply.elapsedTime / 1000
  metrics.count({
    method: request.method,
    kind: kindOf(request),
    status: reply.raw.statusCode,
    cache,
    bytes,
    seconds,
  })
  logger.info(
    {
      method: request.method,
      url,
      status: reply.raw.statusCode,
      ...(cache ? { cache } : {}),
      ...(isComplete ? { bytes } : { aborted: true }),
      ...(refusal === undefined ? {} : { error: refusal }),
      ms: Math.round(reply.elapsedTime),
      client: request.ip,
      agent: request.headers['user-agent'],
    },
    'request',
  )
}
