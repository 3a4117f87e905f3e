import { METHODS } from 'node:http'
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify'
import type { Logger } from 'pino'
import type { CacheStatus } from '../registry/repository.ts'
import type { Admission } from './admission.ts'
import { answerError } from './errors.ts'
import { cacheHeader } from './question.ts'
import { drain, hasBody } from './receive-blob.ts'
import { type HealthRoutesOptions, healthRoutes } from './routes/health.ts'
import { type PagesOptions, pages } from './routes/pages.ts'
import { RegistryRoutes, type RegistryRoutesOptions } from './routes/registry.ts'
import { type TokenRoutesOptions, tokenRoutes } from './routes/token.ts'
import { StrayRequests } from './stray-requests.ts'
import type { ToldRequests } from './told-requests.ts'

export interface ServerOptions extends RegistryRoutesOptions, TokenRoutesOptions, HealthRoutesOptions {
  readonly upstreams: PagesOptions['upstreams']
  readonly wanted?: PagesOptions['wanted']
  readonly pushers: PagesOptions['pushers']
  readonly toldRequests: ToldRequests
  readonly admission: Admission
  readonly logger: Logger
}

/** On every answer, for clients that look for them on errors too; and a browser shall make nothing of what others stored. */
const everyAnswer = {
  'docker-distribution-api-version': 'registry/2.0',
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'; sandbox",
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

/** All that Node understands: the table of routes refuses what a registry has not, with the methods that it has. */
const otherMethods = METHODS.filter((method) => !['GET', 'HEAD', 'CONNECT'].includes(method))

/** How much of a refused body is read, and how long, before the connection is closed over it. */
const drained = { bytes: 256 * 1024 * 1024, ms: 2000 } as const

/** A tag has up to 128 characters and a sha512 digest 135; Fastify's default of 100 would answer 404. */
const maximumParameterLength = 1024

/**
 * The HTTP application: `/`, `/v2/`, `/token`, `/healthz`, `/readyz`, `/metrics`. It listens on nothing itself: `Listener` does,
 * and tests use `inject`.
 */
export async function buildServer(options: ServerOptions): Promise<FastifyInstance> {
  const { requestLog } = options
  const app = Fastify({
    loggerInstance: options.logger as FastifyBaseLogger,
    // Its own line about a request is `RequestLog`'s, and nothing else needs a logger of each request.
    childLoggerFactory: (logger) => logger,
    logController: new LogController({ disableRequestLogging: true }),
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: maximumParameterLength },
    // What the router itself refuses, such as a malformed escape, gets the same shape of error.
    frameworkErrors: (error, request, reply) => sendError(error, request, reply.headers(everyAnswer)),
  })
  for (const method of otherMethods) {
    if (!app.supportedMethods.includes(method)) app.addHttpMethod(method)
  }
  app.addHook('onRequest', (_, reply, done) => {
    reply.headers(everyAnswer)
    done()
  })
  app.setErrorHandler((error, request, reply) =>
    hasBody(request.raw) ? sendErrorOfWrite(error, request, reply) : sendError(error, request, reply),
  )
  const strayRequests = new StrayRequests(
    options.logger,
    options.upstreams.map(({ name }) => name),
  )
  app.setNotFoundHandler((request, reply) =>
    sendError(strayRequests.refuse(requestLog.of(request.raw, reply.raw)), request, reply),
  )
  // Every body that Fastify sends passes here; blobs are sent by a pump, which counts for itself.
  app.addHook('onSend', (request, reply, payload, done) => {
    const context = requestLog.of(request.raw, reply.raw)
    context.bytes = lengthOf(payload)
    context.cache ??= reply.getHeader(cacheHeader) as CacheStatus | undefined
    done()
  })
  const registry = new RegistryRoutes(options)
  const answer = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    const context = requestLog.of(request.raw, reply.raw)
    options.toldRequests.enter(context)
    await options.admission.turn(context)
    if (context.isForRegistry) await registry.handle(context, reply)
    else reply.callNotFound()
  }
  // Everything that no other route is for: a registry's URL may stand below one more part (docs/routing.md).
  app.route({ method: ['GET', 'HEAD'], url: '/*', handler: answer })
  // Answered before Fastify looks at the body, which is a stream of many gigabytes to whoever pushes.
  const answerFirst = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    await answer(request, reply)
    return reply
  }
  app.route({ method: otherMethods, url: '/*', onRequest: answerFirst, handler: answerFirst })
  await app.register(healthRoutes, options)
  await app.register(pages, options)
  await app.register(tokenRoutes, options)
  return app

  /** An answer that comes before the body is whole may be lost with the connection, so a small rest is read first. */
  async function sendErrorOfWrite(
    error: unknown,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<void> {
    const { isBodyHeld } = requestLog.of(request.raw, reply.raw)
    if (!isBodyHeld && !reply.raw.shouldKeepAlive) return sendErrorFirst(error, request, reply)
    const isRead = !isBodyHeld && (await drain(request.raw, drained))
    sendError(error, request, reply, isRead)
  }

  /** Whose connection ends with the answer hears it at once; it is lost only for who goes on to send after that. */
  async function sendErrorFirst(error: unknown, request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const body = describeError(error, request, reply)
    const { raw } = reply.hijack()
    raw.writeHead(reply.statusCode, {
      ...reply.getHeaders(),
      'content-length': Buffer.byteLength(body),
    } as never)
    raw.write(body)
    await drain(request.raw, drained)
    raw.end()
  }

  function sendError(
    error: unknown,
    request: FastifyRequest,
    reply: FastifyReply,
    isRead = request.raw.complete || !hasBody(request.raw),
  ): void {
    const body = describeError(error, request, reply)
    // A body that was not read would be taken for the next request.
    if (!isRead) reply.header('connection', 'close')
    // Also for HEAD, where Node drops the body: the length is that of the GET.
    reply.send(body)
  }

  /** Everything of an error's answer but its body, which is returned. */
  function describeError(error: unknown, request: FastifyRequest, reply: FastifyReply): string {
    const context = requestLog.of(request.raw, reply.raw)
    const { status, headers, body, code, message } = answerError(error, context.kind, context.subject)
    context.error = error
    context.refusal = `${code}: ${message}`
    context.bytes = Buffer.byteLength(body)
    for (const name of descriptive) reply.removeHeader(name)
    reply.code(status).headers(headers)
    return body
  }
}

function lengthOf(payload: unknown): number {
  if (typeof payload === 'string') return Buffer.byteLength(payload)
  return payload instanceof Uint8Array ? payload.length : 0
}
