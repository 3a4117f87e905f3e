import { hostname } from 'node:os'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { Logins } from './access/logins.ts'
import { pushersOf } from './access/policy.ts'
import { admission } from './app/admission.ts'
import { cacheLimits, diskSize } from './app/cache-limits.ts'
import { frugality } from './app/frugality.ts'
import { listing } from './app/listing.ts'
import { mirroring } from './app/mirroring.ts'
import { openCatalog } from './app/open-catalog.ts'
import { transferMemory } from './app/transfer-memory.ts'
import { startUpkeep, type Upkeep } from './app/upkeep.ts'
import { registryClient } from './app/upstream-clients.ts'
import type { Config } from './config/config.ts'
import { Blobs } from './content/blobs.ts'
import { ClientSlots } from './flow/client-slots.ts'
import { expiringInMemory, type OpenExpiring } from './flow/expiring.ts'
import { Shares } from './flow/shares.ts'
import { TokenBucket } from './flow/token-bucket.ts'
import { Uplink } from './flow/uplink.ts'
import { Authorizer } from './http/authorize.ts'
import { processDescriptors } from './http/descriptors.ts'
import { Forwarding } from './http/forwarding.ts'
import { letGoListener } from './http/let-go.ts'
import { Listener } from './http/listener.ts'
import { addLoginMetrics } from './http/login-metrics.ts'
import { Metrics } from './http/metrics.ts'
import { reception } from './http/reception.ts'
import { RequestLog } from './http/request-log.ts'
import { buildServer } from './http/server.ts'
import { ToldRequests } from './http/told-requests.ts'
import { DocumentReader } from './oci/document-reader.ts'
import { Ledger } from './registry/ledger.ts'
import { LocalReferrers } from './registry/local-referrers.ts'
import { LocalRepositories } from './registry/local-repositories.ts'
import { logPull } from './registry/log-pull.ts'
import { LostBytes } from './registry/lost-bytes.ts'
import { Mounts } from './registry/mounts.ts'
import { Repositories } from './registry/repositories.ts'
import { Uploads } from './registry/uploads.ts'
import { lockDirectory } from './storage/files/directory-lock.ts'
import { FileBlobStore } from './storage/files/file-blob-store.ts'
import { Reserve } from './storage/reserve.ts'
import { Certificates } from './upstream/connections/certificates.ts'
import { LineUse } from './upstream/connections/line-use.ts'
import { Names } from './upstream/connections/names.ts'
import { ProxySettings } from './upstream/connections/proxy-settings.ts'
import type { RegistryClient } from './upstream/registry-client.ts'

export interface AppOptions {
  readonly config: Config
  readonly logger: Logger
  /** Where the proxy settings come from: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY. */
  readonly environment: NodeJS.ProcessEnv
  /** Of the program; upstreams see it as `User-Agent`. */
  readonly version: string
  /** See `BlobDownloadsOptions`. */
  readonly turnMs?: number | undefined
  /** Milliseconds without a sign of life after which a question is given up while blobs come in. */
  readonly busyPatienceMs?: number | undefined
  /** Milliseconds without a request after which a pull has ended; clients pause no longer between two blobs. */
  readonly pullIdleMs?: number
  /** Milliseconds after the start before which nothing is collected. */
  readonly settleMs?: number
  /** Milliseconds that a client waits for the headers of a blob: containerd gives up after 30 s. */
  readonly patienceMs?: number
  /** See `MirrorOptions`. */
  readonly readAheadMs?: number | undefined
  /** See `WantedOptions`. */
  readonly wantedSpreadMs?: number | undefined
  /** Milliseconds between two looks at what is damaged. */
  readonly healEveryMs?: number | undefined
  /** See `DiskProbeOptions`. */
  readonly diskProbeMs?: number | undefined
  /** See `WatchedDiskOptions`. */
  readonly probeMs?: number | undefined
  /** Milliseconds without an answer after which a disk hangs. */
  readonly diskHangsAfterMs?: number | undefined
  /** See `UsersFileOptions`. */
  readonly usersSettleMs?: number | undefined
}

/** Of tokens. */
const tokenBudget = { entries: 10_000, bytes: 8 * 1024 * 1024, sizeOf: (token: string) => 2 * token.length }
/** Of manifests that come in, in bytes, and what one client may have of it. */
const bodyMemory = { total: 32 * 1024 * 1024, perClient: 16 * 1024 * 1024 }
/** Likewise of large documents on their way to clients. */
const documentMemory = { total: 48 * 1024 * 1024, perClient: 24 * 1024 * 1024 }
/** Milliseconds after which what is held for a client that does nothing is given back where others wait. */
const defaultRestMs = 5000
const defaultPatienceMs = 10_000
const defaultPullIdleMs = 5000

/** The running parts. Dispose to stop them, in the reverse order of their creation. */
export interface App extends AsyncDisposable {
  /** The HTTP application, for `inject`. */
  readonly server: FastifyInstance
  readonly upstreams: readonly RegistryClient[]
  /** What a stop would wait for, or leave for later. */
  readonly underWay: { readonly requests: number; readonly fills: number }
  readonly repair: Upkeep['repair']
  /** Listens as configured; returns the ports. */
  listen(): Promise<number[]>
}

/**
 * The composition root: makes every part with its own options. Throws what the parts throw: a locked or newer
 * folder, a file that cannot be read.
 */
export async function createApp(given: AppOptions): Promise<App> {
  const descriptors = processDescriptors()
  const { config, opensEarly } = frugality(given.config, descriptors)
  const options = { ...given, config }
  const {
    logger,
    environment,
    version,
    pullIdleMs = defaultPullIdleMs,
    patienceMs = defaultPatienceMs,
  } = options
  await using building = new AsyncDisposableStack()
  const directory = config.storage.dir
  const lock = building.use(await lockDirectory(directory))
  const reserve = Reserve.in(directory)
  const store = building.use(await FileBlobStore.open(directory, reserve))
  const catalog = building.use(await openCatalog({ directory, store, lock, reserve, logger }))
  const expiring: OpenExpiring = (namespace, budget) =>
    expiringInMemory(budget, (err) => logger.warn({ err, namespace }, 'the store of what expires failed'))
  const proxies = ProxySettings.fromEnvironment(environment)
  for (const warning of proxies.warnings) logger.warn(warning)
  const documents = building.use(new DocumentReader())
  const { pieces, pool } = transferMemory(environment, building)
  const rate = config.limits.rate === undefined ? undefined : new TokenBucket(config.limits.rate)
  const ways = {
    pieces,
    documents,
    tokens: expiring('tokens', tokenBudget),
    proxies,
    names: new Names(),
    lineUse: new LineUse(),
    opensEarly,
    uplink: new Uplink(),
    rate,
    certificates: new Certificates(),
  }
  const upstreams: RegistryClient[] = []
  for (const upstream of config.upstreams) {
    const client = await registryClient(upstream, options, ways)
    upstreams.push(building.use(client))
  }
  const limits = await cacheLimits(config.cache, { catalog, store, disk: () => diskSize(directory), logger })
  const blobs = building.use(
    new Blobs({
      limits,
      store,
      pieces,
      records: catalog,
      rate,
      retries: config.limits.retries,
      patienceMs,
      probeMs: options.probeMs,
      connections: config.limits.connections,
      finishFrom: config.cache.finish,
      clientFills: config.limits.perClient.fills,
      scrubMs: config.cache.scrub,
      logger,
    }),
  )
  const mirror = mirroring({ catalog, blobs, expiring, documents, patienceMs, upstreams }, options, building)
  const uploads = building.use(
    new Uploads({
      bytes: blobs,
      files: store.writers,
      catalog,
      patienceMs,
      ttlMs: config.local.uploadTtl,
      space: config.local.uploadSpace,
      logger,
    }),
  )
  uploads.start()
  const local = new LocalRepositories({
    catalog,
    blobs,
    documents,
    referrers: new LocalReferrers({ catalog, documents }),
    uploads,
    patterns: config.local.repositories,
    lost: new LostBytes({ blobs, documents }),
    mounts: new Mounts({
      catalog,
      blobs,
      keyOf: (name, digest) => repositories.keyOf(name, digest),
      servePrivateMs: config.cache.servePrivate,
    }),
    collectAfterMs: config.local.collectAfter,
    logger,
  })
  const upkeep = await startUpkeep(
    { catalog, blobs, store, lock, limits, mirror, upstreams },
    options,
    building,
  )
  const { lists, search } = await listing(
    { catalog, local, upstreams, expiring, patienceMs },
    options,
    ways,
    building,
  )
  const repositories: Repositories = new Repositories(mirror, local, lists, search, upstreams)
  const { htpasswd } = config.auth
  const logins = building.use(
    await Logins.open({ htpasswd, settleMs: options.usersSettleMs, directory, logger }),
  )
  const { perClient } = config.limits
  const transfers = new ClientSlots({ perClient: perClient.transfers, patienceMs })
  const restMs = Math.min(defaultRestMs, patienceMs / 2)
  const bodies = new Shares({ ...bodyMemory, patienceMs, restMs })
  const metrics = new Metrics({
    version,
    upstreams,
    clientTurns: { transfers: transfers.counts, fills: blobs.clientWaits },
    memoryInUse: () => pool.inUse + pieces.inUse,
    readAhead: mirror.readAhead.counts,
    wanted: mirror.wanted,
    ...upkeep.metrics,
  })
  addLoginMetrics(metrics, logins)
  const ledger = building.use(
    new Ledger({
      idleMs: pullIdleMs,
      onPull: (pull) => {
        metrics.countPull(pull.upstream, pull.outcome)
        logPull(logger, pull)
      },
    }),
  )
  const forwarding = new Forwarding(config.server)
  const requestLog = new RequestLog({ logger, metrics, ledger, forwarding })
  const onLetGo = letGoListener(metrics, ledger)
  const admitting = admission({ uploads, upstreams }, { descriptors, patienceMs, onLetGo, logger })
  const server = await buildServer({
    repositories,
    upstreams,
    wanted: mirror.wanted,
    isDeletable: config.local.delete,
    pushers: pushersOf(config.local.push, config.auth.htpasswd !== undefined),
    authorizer: new Authorizer({
      rules: { push: config.local.push, hostname: hostname() },
      logins,
    }),
    logins,
    pool,
    pieces,
    transfers,
    bodies,
    documents: new Shares({ ...documentMemory, patienceMs, restMs }),
    logger,
    requestLog,
    toldRequests: new ToldRequests(perClient.connections),
    admission: admitting,
    metrics,
    health: upkeep.health,
  })
  building.defer(() => server.close())
  await server.ready()
  const parts = building.move()
  return {
    server,
    upstreams,
    repair: upkeep.repair,
    get underWay() {
      return { requests: requestLog.openCount, fills: blobs.fillCount }
    },
    async listen() {
      const { listen: addresses, tls, shutdownGrace: graceMs } = config.server
      const handlers = reception(server.routing, {
        forwarding,
        requestLog,
        stallMs: perClient.stall,
        onLetGo,
      })
      const onCut = (): void => requestLog.breakOff('the mirror stopped before it was sent whole')
      const connectionsPerClient = perClient.connections
      const listener = await Listener.open(handlers, {
        addresses,
        tls,
        graceMs,
        connectionsPerClient,
        admission: admitting,
        proxies: forwarding.proxies,
        onCut,
        onLetGo,
        logger,
      })
      parts.use(listener)
      return listener.ports
    },
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  }
}
