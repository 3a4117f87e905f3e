import { Counter, Gauge, type Registry } from 'prom-client'

/** An upstream, as far as it is measured. */
export interface MeasuredUpstream {
  readonly name: string
  readonly isReachable: boolean
  /** Undefined where there is no account. */
  readonly isAccountRefused: boolean | undefined
  /** Of pulls, as it last told. */
  readonly rateLimit:
    | { readonly limit?: number | undefined; readonly remaining?: number | undefined }
    | undefined
  readonly counters: {
    readonly blobBytes: number
    readonly tokens: number
    /** By method, kind and status, with spaces between them. */
    readonly requests: ReadonlyMap<string, number>
  }
}

/** What is told of each upstream. */
export function addUpstreamMetrics(registers: Registry[], upstreams: readonly MeasuredUpstream[]): void {
  const perUpstream = (
    name: string,
    help: string,
    read: (upstream: MeasuredUpstream) => number | undefined,
  ) =>
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
    'larder_upstream_credentials_refused',
    '1 while the upstream refuses the configured user name and password',
    ({ isAccountRefused }) => (isAccountRefused === undefined ? undefined : Number(isAccountRefused)),
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
    read: (upstream: MeasuredUpstream, add: (labels: Record<Label, string>, value: number) => void) => void,
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
