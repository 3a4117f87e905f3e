import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { RegistryClient } from '../upstream/registry-client.ts'

export interface MetricsSources {
  readonly upstreams: readonly RegistryClient[]
  /** Fills under way. */
  readonly fillCount: () => number
  /** Bytes of memory that transfers hold. */
  readonly buffersInUse: () => number
}

/** What `/metrics` shows (Prometheus text format). The figures of the parts are read when it is asked for. */
export class Metrics {
  readonly registry = new Registry()
  readonly #requests: Counter<'method' | 'kind' | 'status' | 'cache'>
  readonly #servedBytes: Counter
  readonly #firstByte: Histogram<'kind'>

  constructor(sources: MetricsSources) {
    const { registry } = this
    const registers = [registry]
    collectDefaultMetrics({ register: registry })
    this.#requests = new Counter({
      name: 'larder_requests_total',
      help: 'Requests below /v2/ by what they asked for, status, and how the cache answered',
      labelNames: ['method', 'kind', 'status', 'cache'],
      registers,
    })
    this.#servedBytes = new Counter({
      name: 'larder_served_bytes_total',
      help: 'Bytes of blobs and manifests sent to clients',
      registers,
    })
    this.#firstByte = new Histogram({
      name: 'larder_request_duration_seconds',
      help: 'Time from a request to the end of its answer',
      labelNames: ['kind'],
      buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60, 600],
      registers,
    })
    new Gauge({
      name: 'larder_fills_running',
      help: 'Blobs on their way in',
      registers,
      collect() {
        this.set(sources.fillCount())
      },
    })
    new Gauge({
      name: 'larder_transfer_buffers_bytes',
      help: 'Memory that transfers to clients hold',
      registers,
      collect() {
        this.set(sources.buffersInUse())
      },
    })
    addUpstreamMetrics(registers, sources.upstreams)
  }

  /** Counts an answer when it has ended. */
  count(answer: {
    method: string
    kind: string
    status: number
    cache: string
    bytes: number
    seconds: number
  }): void {
    const { method, kind, status, cache } = answer
    this.#requests.inc({ method, kind, status: String(status), cache })
    this.#servedBytes.inc(answer.bytes)
    this.#firstByte.observe({ kind }, answer.seconds)
  }
}

function addUpstreamMetrics(registers: Registry[], upstreams: readonly RegistryClient[]): void {
  const perUpstream = (name: string, help: string, read: (upstream: RegistryClient) => number | undefined) =>
    new Gauge({
      name,
      help,
      labelNames: ['upstream'],
      registers,
      collect() {
        for (const upstream of upstreams) {
          const value = read(upstream)
          if (value !== undefined) this.set({ upstream: upstream.name }, value)
        }
      },
    })
  perUpstream('larder_upstream_reachable', '1 while the upstream answers', ({ isReachable }) =>
    Number(isReachable),
  )
  perUpstream(
    'larder_upstream_ratelimit_limit',
    'Pulls that the upstream allows in a window',
    (upstream) => upstream.rateLimit?.limit,
  )
  perUpstream(
    'larder_upstream_ratelimit_remaining',
    'Pulls that are left of them',
    (upstream) => upstream.rateLimit?.remaining,
  )
  const counter = <Label extends string>(
    name: string,
    help: string,
    labelNames: Label[],
    read: (upstream: RegistryClient, add: (labels: Record<Label, string>, value: number) => void) => void,
  ) =>
    new Counter({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset()
        for (const upstream of upstreams) read(upstream, (labels, value) => this.inc(labels, value))
      },
    })
  counter(
    'larder_upstream_received_bytes_total',
    'Bytes of blobs that came over the line',
    ['upstream'],
    (upstream, add) => add({ upstream: upstream.name }, upstream.counters.blobBytes),
  )
  counter('larder_upstream_tokens_total', 'Tokens fetched', ['upstream'], (upstream, add) =>
    add({ upstream: upstream.name }, upstream.counters.tokens),
  )
  counter(
    'larder_upstream_requests_total',
    'Requests to the registry, redirects to its storage not counted apart',
    ['upstream', 'method', 'kind', 'status'],
    (upstream, add) => {
      for (const [request, count] of upstream.counters.requests) {
        const [method = '', kind = '', status = ''] = request.split(' ')
        add({ upstream: upstream.name, method, kind, status }, count)
      }
    },
  )
}
