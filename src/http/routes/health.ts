import type { FastifyInstance, RouteHandlerMethod } from 'fastify'
import type { Metrics } from '../metrics.ts'

export interface HealthRoutesOptions {
  readonly metrics: Metrics
  /** Rejects where the store cannot be used. */
  readonly probe: () => Promise<void>
}

/**
 * `/healthz`: the process is alive. `/readyz`: the store can be used. `/metrics`: Prometheus. Balancers and
 * `wget --spider` ask by HEAD.
 */
export async function healthRoutes(
  app: FastifyInstance,
  { metrics, probe }: HealthRoutesOptions,
): Promise<void> {
  const get = (url: string, handler: RouteHandlerMethod) =>
    app.route({ method: ['GET', 'HEAD'], url, handler })
  get('/healthz', async () => ({ status: 'ok' }))
  get('/readyz', async (request, reply) => {
    try {
      await probe()
      return { status: 'ready' }
    } catch (error) {
      request.log.error({ err: error }, 'the store cannot be used')
      reply.code(503)
      return {
        status: 'not ready',
        reason: 'the store cannot be used; the log of the mirror has the details',
      }
    }
  })
  get('/metrics', async (_, reply) => {
    reply.type(metrics.registry.contentType)
    return metrics.registry.metrics()
  })
}
