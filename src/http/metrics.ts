import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { PullOutcome } from '../registry/pull.ts'
import { addDamageMetrics, type DamageSources } from './damage-metrics.ts'
import { addDiskMetrics, type DiskSources } from './disk-metrics.ts'
import { addFillMetrics, type FillSources } from './fill-metrics.ts'
import { addGauge } from './metric-kinds.ts'
import { addReadAheadMetrics, type ReadAheadSources } from './read-ahead-metrics.ts'
import { addSpaceMetrics, type SpaceSources } from './space-metrics.ts'
import { addUpstreamMetrics, type MeasuredUpstream } from './upstream-metrics.ts'
import { addWantedMetrics, type WantedSources } from './wanted-metrics.ts'

export interface MetricsSources
  extends FillSources,
    DiskSources,
    SpaceSources,
    DamageSources,
    ReadAheadSources,
    WantedSources {
  /** Of this program. */
  readonly version: string
  readonly upstreams: readonly MeasuredUpstream[]
  /** Who met a bound by client where turns are taken, by what is bounded. */
  readonly clientTurns: Readonly<Record<string, { readonly waited: number; readonly refused: number }>>
  /** Bytes of memory that transfers hold. */
  readonly memoryInUse: () => number
}

/** Why a connection was closed: more than may be of connections or requests behind one another, or what did not come. */
export type LetGoReason = 'connections' | 'crowd' | 'pipelining' | 'headers' | 'taking' | 'sending'

/** A request below `/v2/` at its end. */
export interface CountedRequest {
  readonly method: string
  readonly kind: string
  /** Empty where it was about none. */
  readonly upstream: string
  readonly status: number
  /** As in X-Larder-Cache; empty where there is nothing to tell. */
  readonly cache: string
  /** Of blobs, manifests and lists that were sent. */
  readonly bytes: number
  readonly seconds: number
}

/** What `/metrics` shows (Prometheus text format). The figures of the parts are read when it is asked for. */
export class Metrics {
  readonly registry = new Registry()
  readonly #requests: Counter<'method' | 'kind' | 'upstream' | 'status' | 'cache'>
  readonly #servedBytes: Counter<'upstream' | 'cache'>
  readonly #pulls: Counter<'upstream' | 'outcome'>
  readonly #duration: Histogram<'kind'>
  readonly #letGo: Counter<'reason'>

  constructor(sources: MetricsSources) {
    const { registry } = this
    const registers = [registry]
    collectDefaultMetrics({ register: registry })
    this.#requests = new Counter({
      name: 'larder_requests_total',
      help: 'Requests below /v2/ by what they asked for, status (499: the client left before), and how the cache answered',
      labelNames: ['method', 'kind', 'upstream', 'status', 'cache'],
      registers,
    })
    this.#servedBytes = new Counter({
      name: 'larder_served_bytes_total',
      help: 'Bytes of blobs, manifests and lists sent to clients, also in answers that were not sent whole',
      labelNames: ['upstream', 'cache'],
      registers,
    })
    this.#pulls = new Counter({
      name: 'larder_pulls_total',
      help: 'Images pulled by a client, by how that ended: finished, left, failed, stopped',
      labelNames: ['upstream', 'outcome'],
      registers,
    })
    this.#duration = new Histogram({
      name: 'larder_request_duration_seconds',
      help: 'Time from a request to the end of its answer',
      labelNames: ['kind'],
      buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60, 600],
      registers,
    })
    this.#letGo = new Counter({
      name: 'larder_clients_let_go_total',
      help: 'Connections that were closed: too many (connections), too many requests on one (pipelining), or nothing came (headers, taking, sending)',
      labelNames: ['reason'],
      registers,
    })
    addOwnMetrics(registers, sources)
    addFillMetrics(registers, sources)
    addDiskMetrics(registers, sources)
    addSpaceMetrics(registers, sources)
    addDamageMetrics(registers, sources)
    addReadAheadMetrics(registers, sources)
    addUpstreamMetrics(registers, sources.upstreams)
    addWantedMetrics(registers, sources)
  }

  /** Counts a request when it has ended. */
  count({ method, kind, upstream, status, cache, bytes, seconds }: CountedRequest): void {
    this.#requests.inc({ method, kind, upstream, status: String(status), cache })
    if (bytes > 0) this.#servedBytes.inc({ upstream, cache }, bytes)
    this.#duration.observe({ kind }, seconds)
  }

  /** Counts a client that was let go. */
  countLetGo(reason: LetGoReason): void {
    this.#letGo.inc({ reason })
  }

  /** Counts a pull when it has ended. */
  countPull(upstream: string, outcome: PullOutcome): void {
    this.#pulls.inc({ upstream, outcome })
  }
}

function addOwnMetrics(registers: Registry[], sources: MetricsSources): void {
  new Gauge({
    name: 'larder_build_info',
    help: '1; which version of Larder this is, and of Node.js',
    labelNames: ['version', 'node'],
    registers,
  }).set({ version: sources.version, node: process.versions.node }, 1)
  const { memoryInUse } = sources
  addGauge(registers, 'larder_transfer_buffers_bytes', 'Memory that transfers hold', memoryInUse)
  new Counter({
    name: 'larder_client_turns_total',
    help: 'Turns that a client had to wait for among its own (waited), and those among them that did not come in time (refused)',
    labelNames: ['bound', 'outcome'],
    registers,
    collect() {
      this.reset()
      for (const [bound, { waited, refused }] of Object.entries(sources.clientTurns)) {
        this.inc({ bound, outcome: 'waited' }, waited)
        this.inc({ bound, outcome: 'refused' }, refused)
      }
    },
  })
}
