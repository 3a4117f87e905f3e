import { Counter, Gauge, type Registry } from 'prom-client'

/** What an upstream lets us ask, as anyone and as the account. */
interface MeasuredLimits {
  /** Of pulls, as it last told. */
  readonly quotas: readonly {
    readonly as: string
    /** What it counts by, without its name: `/metrics` may be read by many. */
    readonly source: string
    readonly limit: number | undefined
    readonly remaining: number | undefined
    /** Milliseconds since the epoch. */
    readonly heardAt: number
  }[]
  readonly held: readonly { readonly as: string; readonly pulls: boolean; readonly all: boolean }[]
}

/** An upstream, as far as it is measured. */
export interface MeasuredUpstream {
  readonly name: string
  readonly isReachable: boolean
  /** Undefined where there is no account. */
  readonly isAccountRefused: boolean | undefined
  readonly limits: MeasuredLimits
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
  addLimitMetrics(registers, upstreams)
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

function addLimitMetrics(registers: Registry[], upstreams: readonly MeasuredUpstream[]): void {
  const gauge = <Label extends string, Item>(
    name: string,
    help: string,
    labelNames: Label[],
    items: (limits: MeasuredLimits) => readonly Item[],
    read: (
      item: Item,
    ) => readonly [labels: Omit<Record<Label, string>, 'upstream'>, figure: number | undefined],
  ) =>
    new Gauge<string>({
      name,
      help,
      labelNames: ['upstream', ...labelNames],
      registers,
      collect() {
        this.reset()
        for (const upstream of upstreams)
          for (const item of items(upstream.limits)) {
            const [labels, figure] = read(item)
            if (figure !== undefined) this.set({ ...labels, upstream: upstream.name }, figure)
          }
      },
    })
  type Quota = MeasuredLimits['quotas'][number]
  const ofQuota = (name: string, help: string, read: (quota: Quota) => number | undefined) =>
    gauge(
      `larder_upstream_ratelimit_${name}`,
      help,
      ['as', 'source'],
      ({ quotas }) => quotas,
      (quota) => [{ as: quota.as, source: quota.source }, read(quota)],
    )
  ofQuota('limit', 'Pulls that the upstream allows in a window', ({ limit }) => limit)
  ofQuota('remaining', 'Pulls that are left of them', ({ remaining }) => remaining)
  ofQuota('heard_timestamp_seconds', 'When the upstream last told that', ({ heardAt }) => heardAt / 1000)
  gauge(
    'larder_upstream_limited',
    '1 while the upstream has told us to wait (429): with pulls, or with all requests',
    ['as', 'what'],
    ({ held }) =>
      held.flatMap(({ as, pulls, all }) => [
        { as, what: 'pulls', isHeld: pulls },
        { as, what: 'all', isHeld: all },
      ]),
    ({ as, what, isHeld }) => [{ as, what }, Number(isHeld)],
  )
}
