import type { FastifyInstance, RouteHandlerMethod } from 'fastify'
import type { Metrics } from '../metrics.ts'

/** ready: all is well. degraded: pulls go on, and what is new is not kept. not ready: it cannot answer. */
export interface HealthReport {
  readonly status: 'ready' | 'degraded' | 'not ready'
  /** Where it is not ready, in words. */
  readonly reason?: string
}

export interface HealthRoutesOptions {
  readonly metrics: Metrics
  /** How the mirror is; never takes long, nor rejects. */
  readonly health: () => Promise<HealthReport>
}

/**
 * `/healthz`: the process is alive. `/readyz`: whether it can answer (200), degraded included, or not (503). `/metrics`:
 * Prometheus. Balancers and `wget --spider` ask by HEAD.
 */
export async function healthRoutes(
  app: FastifyInstance,
  { metrics, health }: HealthRoutesOptions,
): Promise<void> {
  const get = (url: string, handler: RouteHandlerMethod) =>
    app.route({ method: ['GET', 'HEAD'], url, handler })
  get('/healthz', async () => ({ status: 'ok' }))
  get('/readyz', async (_, reply) => {
    const report = await health()
    reply.code(report.status === 'not ready' ? 503 : 200).header('cache-control', 'no-store')
    return report
  })
  get('/metrics', async (_, reply) => {
    reply.type(metrics.registry.contentType)
    return metrics.registry.metrics()
  })
}
