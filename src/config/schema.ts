import * as z from 'zod'
import { describeValue } from './describe-value.ts'
import { collide, formatListenAddress, type ListenAddress, parseListenAddress } from './listen-address.ts'
import {
  choice,
  convert,
  count,
  duration,
  expected,
  path,
  rate,
  setting,
  size,
  sizeOrShare,
} from './setting-types.ts'
import { UnitError } from './units.ts'
import { defaultUpstreams, upstreamSchema } from './upstream-schema.ts'

/** The longest delay in milliseconds that a timer of Node takes; a longer one would fire at once. */
const longestTimer = 2 ** 31 - 1

const listen = setting(
  z
    .union([z.string(), z.number(), z.array(z.union([z.string(), z.number()]))], {
      error: expected('an address such as ":5000", or a list of them'),
    })
    .transform((input, context): ListenAddress[] => {
      if (!Array.isArray(input)) return [convert(context, () => parseListenAddress(input))]
      if (input.length === 0) context.addIssue({ code: 'custom', message: 'expected at least one address' })
      const addresses = input.map((one, index) => convert(context, () => parseListenAddress(one), [index]))
      checkApart(addresses, context)
      return addresses
    })
    .prefault(':5000'),
  {
    description:
      'Where to listen: `:5000` (every interface), `127.0.0.1:5000`, `[::1]:5000`, `unix:/path`, or a list.',
    examples: [':5000', '127.0.0.1:5000', 'unix:/run/larder.sock'],
  },
  { text: 'text', show: showListen },
)

const pemFile = (description: string) =>
  setting(path('the path of a PEM file').optional(), { description }, { text: 'text', path: true })

const tls = section({
  certificate: pemFile('A PEM file with the certificate and its chain. TLS is off without it.'),
  key: pemFile('A PEM file with the private key of the certificate.'),
})
  .superRefine(
    ({ certificate, key }, context) => {
      if ((certificate === undefined) === (key === undefined)) return
      const [present, missing] = key === undefined ? ['certificate', 'key'] : ['key', 'certificate']
      context.addIssue({ code: 'custom', path: [present], message: `${present} needs ${missing}` })
    },
    { when: ({ value }) => typeof value === 'object' && value !== null },
  )
  .transform(({ certificate, key }) =>
    certificate === undefined || key === undefined ? undefined : { certificate, key },
  )

const server = section({
  listen,
  tls: tls.prefault({}),
  shutdownGrace: duration({
    description: 'How long running pulls may go on after a signal to stop.',
    default: '30s',
    maximum: 3_600_000,
  }),
})

const storage = section({
  dir: setting(
    path('the path of a folder').prefault('data'),
    {
      description:
        'The folder for everything that is kept. Default: `data` beside mirror.yml; /data in the container.',
    },
    { text: 'text', path: true },
  ),
})

const cache = section({
  maxSize: sizeOrShare({
    description: 'How many bytes of mirrored content to keep: a size, a share of the disk, or `auto`.',
    default: 'auto',
    examples: ['50GB', '80%'],
    reserved: 'eviction',
  }),
  minFree: size({
    description: 'How much of the disk to leave free; wins over maxSize.',
    default: '5GB',
    reserved: 'eviction',
  }),
  revalidate: duration({
    description:
      'How long a tag is trusted before the upstream is asked again. `0`: ask every time. `never`: trust it for good.',
    default: '5m',
    words: { never: Number.POSITIVE_INFINITY },
  }),
  serveStale: duration({
    description:
      'Up to what age a tag is served while its upstream fails. `never`: fail. `forever`: any age.',
    default: '30d',
    words: { never: 0, forever: Number.POSITIVE_INFINITY },
  }),
  staleAfter: duration({
    description: 'How long a client waits for the check of a tag before it gets the copy that is here.',
    default: '2s',
    maximum: 600_000,
  }),
  negative: duration({
    description: 'How long "not found" is remembered. `0`: not at all.',
    default: '60s',
    maximum: longestTimer,
  }),
  servePrivate: duration({
    description:
      'How long what was public is served after its upstream refuses the repository to everybody without a login. `0`: not at all. Matters only to upstreams with a username.',
    default: '24h',
  }),
})

const perClient = section({
  connections: setting(count(1, 100_000).prefault(1000), {
    description: 'Connections from one address at a time; an IPv6 address counts with its /64.',
  }),
  transfers: setting(count(1, 100_000).prefault(500), {
    description: 'Blobs on their way to one address at a time; more wait for their turn.',
  }),
  fills: setting(count(1, 100_000).prefault(250), {
    description: 'Blobs that one address has brought on their way from upstream at a time.',
  }),
  stall: duration({
    description: 'After so long without taking or sending a byte a client is let go.',
    default: '5m',
    minimum: 1000,
    maximum: 86_400_000,
  }),
})

const limits = section({
  downloads: setting(count(1, 1000).prefault(3), { description: 'Blobs that are fetched at a time.' }),
  connections: setting(count(1, 16).prefault(4), {
    description: 'Connections for one blob, at most.',
    reserved: 'parallel fetching',
  }),
  rate: rate({
    description: 'The limit for all downloads together, such as `10MB/s` or `8Mbit/s`; `off` for none.',
    default: 'off',
    examples: ['10MB/s', '8Mbit/s'],
  }),
  stall: duration({
    description: 'After so long without a byte a download reconnects and goes on where it was.',
    default: '30s',
    minimum: 1000,
    maximum: 3_600_000,
  }),
  patience: duration({
    description:
      'How long a client waits for a manifest, a list or a size while its upstream shows no sign of life. The question goes on.',
    default: '5s',
    minimum: 1000,
    maximum: 3_600_000,
  }),
  retries: setting(count(0, 1000).prefault(8), {
    description: 'Attempts after the first one failed, before a download gives up.',
  }),
  perClient: perClient.prefault({}),
})

const local = section({
  repositories: setting(
    z
      .array(z.string({ error: expected('a pattern such as "local/**"') }), {
        error: expected('a list of patterns such as "local/**"'),
      })
      .superRefine((patterns, context) => {
        for (const [index, pattern] of patterns.entries())
          convert(context, () => checkPattern(pattern), [index])
      })
      .prefault(['*', 'local/**']),
    {
      description:
        'The names that can be pushed here, and then belong to this mirror alone: `*` is one part of a name, `**` one or more.',
    },
  ),
  push: setting(
    choice(['off', 'this-machine'], {
      coming: ['private-networks', 'users', 'anyone'],
      meanwhile: 'only this machine can push so far',
    }).prefault('this-machine'),
    { description: 'Who may push; more words are to come.' },
    { text: 'text' },
  ),
})

const auth = section({
  htpasswd: setting(
    path('the path of a file').optional(),
    { description: 'A file of users with bcrypt passwords.', reserved: 'users' },
    { text: 'text', path: true, unprotected: unprotectedPulls },
  ),
})

const log = section({
  level: setting(
    choice(['error', 'warn', 'info', 'debug', 'trace']).prefault('info'),
    { description: 'The least important events that are written.' },
    { text: 'text' },
  ),
  format: setting(
    choice(['auto', 'pretty', 'text', 'json', 'logstash', 'ecs']).prefault('auto'),
    { description: 'How events are written; `auto` is pretty on a terminal, else text.' },
    { text: 'text' },
  ),
})

const upstreams = z
  .array(upstreamSchema, {
    error: expected('a list of upstreams such as "- name: docker.io", or "[{name: docker.io}]" on one line'),
  })
  .min(1, { error: 'expected at least one upstream; leave the key out for Docker Hub' })
  .superRefine(checkUniqueNames, { when: ({ value }) => Array.isArray(value) })

/**
 * `mirror.yml`: the one source of its defaults, types, descriptions, of the JSON Schema for editors and of the
 * table of settings. Top-level keys that begin with `x-` are removed before.
 */
export const configSchema = section({
  server: server.prefault({}),
  storage: storage.prefault({}),
  cache: cache.prefault({}),
  upstreams: upstreams.prefault(defaultUpstreams),
  limits: limits.prefault({}),
  local: local.prefault({}),
  auth: auth.prefault({}),
  log: log.prefault({}),
})

/**
 * The configuration in force. Durations are milliseconds (`server.shutdownGrace`, `cache.revalidate`, `.serveStale`,
 * `.staleAfter`, `.negative`, `.servePrivate`, `limits.stall`, `.patience`, `.perClient.stall`); `cache.revalidate` and
 * `.serveStale` may be Infinity, which no timer takes. Sizes are bytes (`cache.minFree`, `cache.maxSize` unless `auto` or a share of the disk). `limits.rate` is
 * bytes a second, undefined without a limit. Paths are absolute. `upstreams[].password` holds what `passwordFile` said.
 */
export type Config = z.output<typeof configSchema>

/** One upstream of a Config: `url` and `realms` (origins) are filled in, without a slash at the end. */
export type UpstreamConfig = Config['upstreams'][number]

function section<S extends z.ZodRawShape>(shape: S) {
  return z.strictObject(shape, {
    error: (issue) => (issue.code === 'invalid_type' ? expected('a map of settings')(issue) : undefined),
  })
}

function unprotectedPulls(): string {
  return 'this version asks nobody for a password, and whoever reaches it may pull: take the setting out, and let server.listen, a firewall or a web server with a login say who reaches it'
}

function checkApart(addresses: readonly ListenAddress[], context: z.RefinementCtx): void {
  for (const [index, address] of addresses.entries()) {
    const first = addresses.slice(0, index).find((one) => collide(one, address))
    if (first === undefined) continue
    const message = `${formatListenAddress(first)} takes ${formatListenAddress(address)} with it: keep one`
    context.addIssue({ code: 'custom', path: [index], message })
  }
}

function showListen(value: unknown): unknown {
  const shown = (value as ListenAddress[]).map(formatListenAddress)
  return shown.length === 1 ? shown[0] : shown
}

function checkPattern(pattern: string): void {
  const part = /^(?:\*\*|[a-z0-9*]+(?:[._-]+[a-z0-9*]+)*)$/
  if (pattern.length <= 255 && pattern.split('/').every((piece) => part.test(piece))) return
  throw new UnitError(`expected a pattern such as "*" or "local/**"; got ${describeValue(pattern)}`)
}

function checkUniqueNames(upstreams: readonly Partial<UpstreamConfig>[], context: z.RefinementCtx): void {
  const seen = new Map<unknown, number>()
  for (const [index, upstream] of upstreams.entries()) {
    const name = upstream?.name
    if (typeof name !== 'string') continue
    const first = seen.get(name)
    if (first === undefined) seen.set(name, index)
    else {
      const message = `"${name}" is already upstream ${first}: a name may occur once`
      context.addIssue({ code: 'custom', path: [index, 'name'], message })
    }
  }
}
