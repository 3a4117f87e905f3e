import { parseNetwork } from '../names/networks.ts'
import { parsePublicUrl } from '../names/public-url.ts'
import { parseRealm } from '../names/realm.ts'
import { parseRedirectHost } from '../names/redirect-hosts.ts'
import { checkPattern } from '../names/repository-patterns.ts'
import { parseProxy, parseRegistryName, parseUpstreamUrl, withoutUserinfo } from '../names/upstream-url.ts'
import { hour, minute, second, sizes, sizesOrShares } from '../units/notation.ts'
import type { ValuePath } from '../yaml/value-tree.ts'
import {
  choice,
  count,
  duration,
  finish,
  flag,
  type Kind,
  list,
  listenAddresses,
  path,
  rate,
  text,
  unit,
} from './kinds.ts'

const anyLength = [0, Number.MAX_SAFE_INTEGER] as const
/** What a timer of Node takes; after a longer delay it would fire at once. */
const longestTimer = 2 ** 31 - 1

/**
 * Every setting of `mirror.yml`, once: from this table come its checks, the type of the configuration, the JSON Schema
 * for editors, the variables and `larder config`. `*` stands for an index of a list.
 */
export const table = {
  'server.listen': listenAddresses(':5000', {
    description:
      'Where to listen: `:5000` (every interface), `127.0.0.1:5000`, `[::1]:5000`, `unix:/path`, or a list.',
    examples: [':5000', '127.0.0.1:5000', 'unix:/run/larder.sock'],
  }),
  'server.tls.certificate': path('the path of a PEM file', {
    description: 'A PEM file with the certificate and its chain. TLS is off without it.',
  }),
  'server.tls.key': path('the path of a PEM file', {
    description: 'A PEM file with the private key of the certificate.',
  }),
  'server.shutdownGrace': duration('30s', [0, hour], {
    description: 'How long running pulls may go on after a signal to stop.',
  }),
  'server.publicUrl': text('the http or https URL that clients use', {
    description:
      'The address by which clients reach this mirror, where a web server in front of it does not tell. Default: what the client asked for.',
    examples: ['https://mirror.example.com'],
    read: parsePublicUrl,
  }),
  'server.trustProxy': list<readonly string[]>('a list of addresses or networks such as "10.0.0.2"', {
    description:
      'The web servers in front, by address or network, whose `Forwarded` and `X-Forwarded-*` say who asks and by which address; `unix` is whoever comes by a Unix socket. Nobody else is believed.',
    examples: ['10.0.0.2', '172.16.0.0/12'],
    default: [],
    each: 'an address or a network such as "10.0.0.0/8"',
    read: parseNetwork,
  }),
  'storage.dir': path<string>('the path of a folder', {
    description:
      'The folder for everything that is kept. Default: `data` beside mirror.yml; /data in the container.',
    default: 'data',
  }),
  'cache.maxSize': unit({ ...sizesOrShares, expected: 'a size such as 50GB or 80%, or auto' }, 'auto', {
    special: { auto: 'auto' },
    description:
      'How many bytes of mirrored content to keep: a size, a share of the disk, or `auto`, which is 80 % of the free space at the first start and at most 50GB.',
    examples: ['50GB', '80%'],
  }),
  'cache.minFree': unit(sizes, 'auto', {
    special: { auto: 'auto' },
    description:
      'How much of the disk to leave free; wins over maxSize. `auto`: 5GB, and on a disk smaller than 50GB a tenth of it.',
    examples: ['5GB'],
  }),
  'cache.keepAtLeast': duration('24h', anyLength, {
    description: 'How long what was fetched is not evicted, unless there is no other way.',
  }),
  'cache.scrub': duration('30d', [second, Number.MAX_SAFE_INTEGER], {
    special: { never: Number.POSITIVE_INFINITY },
    description: 'How often each blob is compared with its digest. `never`: only when it is used.',
  }),
  'cache.revalidate': duration('5m', anyLength, {
    description:
      'How long a tag is trusted before the upstream is asked again. `0`: ask every time. `never`: trust it for good.',
    special: { never: Number.POSITIVE_INFINITY },
  }),
  'cache.serveStale': duration('30d', anyLength, {
    description:
      'Up to what age a tag is served while its upstream fails. `never`: fail. `forever`: any age.',
    special: { never: 0, forever: Number.POSITIVE_INFINITY },
  }),
  'cache.staleAfter': duration('2s', [0, 10 * minute], {
    description: 'How long a client waits for the check of a tag before it gets the copy that is here.',
  }),
  'cache.negative': duration('60s', [0, longestTimer], {
    description: 'How long "not found" is remembered. `0`: not at all.',
  }),
  'cache.servePrivate': duration('24h', anyLength, {
    description:
      'How long what was public is served after its upstream refuses the repository to everybody without a login. `0`: not at all. Matters only to upstreams with a username.',
  }),
  'cache.readAhead': unit(sizes, '1MiB', {
    description:
      'Blobs up to this size that a manifest names are fetched as soon as the manifest is seen, before a client asks. `0`: none.',
    examples: ['1MiB', '0'],
  }),
  'cache.finish': finish('always', {
    description:
      'Whether a blob is fetched to its end after all its clients have left: `always`, `never`, or `started: 50%` where that much of it is here.',
    examples: ['always', 'never', 'started: 50%'],
  }),
  'cache.wanted': flag(true, {
    description:
      'Remember what was asked for while an upstream could not be reached, and fetch it when it is back.',
  }),
  'upstreams.*.name': text<string>("a registry's host such as ghcr.io or localhost:5001", {
    description:
      'The registry, as in names of images: `docker.io`, `ghcr.io`, `localhost:5001`. Clients ask for it by `?ns=` or as the first part of a name.',
    examples: ['docker.io', 'ghcr.io'],
    required: true,
    read: parseRegistryName,
  }),
  'upstreams.*.url': text('an http or https URL', {
    description:
      'Where the registry answers `/v2/`, which may be left out here. Default: https://registry-1.docker.io for docker.io, else https:// and the name.',
    examples: ['https://registry-1.docker.io'],
    read: parseUpstreamUrl,
  }),
  'upstreams.*.username': text('a user name', {
    description: 'The account at the registry. Needs `password` or `passwordFile`.',
  }),
  'upstreams.*.password': text('a password', {
    description: 'The password or access token; better by a variable or `passwordFile` than as text here.',
    secret: true,
    text: 'verbatim',
    show: () => '(set)',
  }),
  'upstreams.*.passwordFile': path('the path of a file', {
    description: 'A file that holds the password; a newline at its end is cut.',
  }),
  'upstreams.*.ca': path('the path of a file', {
    description: "A PEM file of certificate authorities to trust for this registry, besides the system's.",
  }),
  'upstreams.*.realms': list('a list of hosts or https URLs', {
    description:
      "More hosts that may hand out tokens for this registry; credentials go to no other. The registry's own host, and auth.docker.io for Docker Hub, need no entry.",
    each: 'a host or an https URL',
    read: parseRealm,
  }),
  'upstreams.*.redirects': list('a list of hosts such as "cdn.example.com" or "*.example.com"', {
    description:
      'The only hosts, besides its own, that this registry may send us to for its bytes; `*.example.com` is every host below it. Any public one without it.',
    each: 'a host such as "cdn.example.com" or "*.example.com"',
    read: parseRedirectHost,
  }),
  'upstreams.*.proxy': text('the URL of a proxy', {
    description: 'The HTTP proxy on the way to this registry.',
    examples: ['http://proxy.lan:3128'],
    read: parseProxy,
    show: (value) => withoutUserinfo(String(value)),
  }),
  'limits.downloads': count(3, [1, 1000], { description: 'Blobs that are fetched at a time.' }),
  'limits.connections': count(8, [1, 32], {
    description: 'Connections to the storage of one upstream at a time, for all blobs together.',
  }),
  'limits.rate': rate('off', {
    description:
      'The limit for everything from upstream together, such as `10MB/s` or `8Mbit/s`; `off` for none.',
    examples: ['10MB/s', '8Mbit/s'],
  }),
  'limits.stall': duration('30s', [second, hour], {
    description: 'After so long without a byte a download reconnects and goes on where it was.',
  }),
  'limits.patience': duration('5s', [second, hour], {
    description:
      'How long a client waits for a manifest, a list or a size while its upstream shows no sign of life. The question goes on.',
  }),
  'limits.retries': count(8, [0, 1000], {
    description: 'Attempts after the first one failed, before a download gives up.',
  }),
  'limits.reserve': count(10, [0, 1_000_000], {
    description:
      "Pulls of an upstream's quota that are left to people: background work leaves off when so few remain.",
  }),
  'limits.perClient.connections': count(1000, [1, 100_000], {
    description: 'Connections from one address at a time; an IPv6 address counts with its /64.',
  }),
  'limits.perClient.transfers': count(500, [1, 100_000], {
    description: 'Blobs on their way to one address at a time; more wait for their turn.',
  }),
  'limits.perClient.fills': count(250, [1, 100_000], {
    description: 'Blobs that one address has brought on their way from upstream at a time.',
  }),
  'limits.perClient.stall': duration('5m', [second, 24 * hour], {
    description: 'After so long without taking or sending a byte a client is let go.',
  }),
  'local.repositories': list<readonly string[]>('a list of patterns such as "local/**"', {
    description:
      'The names that can be pushed here, and then belong to this mirror alone: `*` is one part of a name, `**` one or more.',
    default: ['*', 'local/**'],
    each: 'a pattern such as "local/**"',
    read: checkPattern,
  }),
  'local.push': choice(undefined, ['off', 'this-machine', 'private-networks', 'users', 'anyone'], {
    description:
      'Who may push and delete. Default: `private-networks`, and `users` where auth.htpasswd is set.',
  }),
  'local.delete': flag(true, {
    description: 'Whether what was pushed can be deleted, and what is mirrored be forgotten.',
  }),
  'local.uploadTtl': duration('24h', [second, longestTimer], {
    description: 'After so long without a byte an unfinished upload is purged.',
  }),
  'local.uploadSpace': unit(sizes, '50GB', {
    description: 'How many bytes unfinished uploads may take, all together.',
  }),
  'local.collectAfter': duration('24h', [second, 365 * 24 * hour], {
    description: 'How long a pushed blob is kept that no manifest of its repository names.',
  }),
  'auth.htpasswd': path('the path of a file', {
    description:
      'A file of users with bcrypt passwords, as `htpasswd -B` writes it; read again when it changes.',
  }),
  'log.level': choice('info', ['error', 'warn', 'info', 'debug', 'trace'], {
    description: 'The least important events that are written.',
  }),
  'log.format': choice('auto', ['auto', 'pretty', 'text', 'json', 'logstash', 'ecs'], {
    description: 'How events are written; `auto` is pretty on a terminal, else text.',
  }),
}

/** A list of maps. */
interface MapList {
  /** What it is when nobody sets it, in the form of the file. */
  readonly default: readonly unknown[]
  readonly expected: string
  readonly each: string
  /** Why it must not be empty, where it must not. */
  readonly empty?: string
}

/** The lists of maps, by their names in the table. */
export const lists: Readonly<Record<string, MapList>> = {
  upstreams: {
    default: [{ name: 'docker.io' }],
    expected: 'a list of upstreams such as "- name: docker.io", or "[{name: docker.io}]" on one line',
    each: 'a map with a name such as "- name: docker.io"',
    empty: 'expected at least one upstream; leave the key out for Docker Hub',
  },
}

/** One leaf of the configuration. */
export interface Setting {
  /** `*` stands for an index of a list. */
  readonly path: readonly string[]
  readonly description: string
  /** The default in the form of the file; undefined where the setting is off, required or derived when absent. */
  readonly default: unknown
  readonly type: Kind<unknown>
}

/** Every setting, in the order of the table. */
export const settings: readonly Setting[] = Object.entries<Kind<unknown>>(table).map(([name, type]) => {
  return { path: name.split('.'), description: type.description, default: type.default, type }
})

const byName = new Map(settings.map((setting) => [setting.path.join('.'), setting]))

/** The setting at a path such as `upstreams.0.url`; undefined for sections and unknown paths. */
export function settingAt(path: ValuePath): Setting | undefined {
  return byName.get(nameOf(path))
}

/** The keys that may stand in the section at a path; empty for a leaf or an unknown path. */
export function keysAt(path: ValuePath): readonly string[] {
  const start = path.length === 0 ? '' : `${nameOf(path)}.`
  const below = settings.filter((setting) => setting.path.join('.').startsWith(start))
  return [...new Set(below.map((setting) => setting.path[path.length] ?? ''))]
}

/** The name of a path in the table, `*` for the indexes. */
export function nameOf(path: ValuePath): string {
  return path.map((part) => (typeof part === 'number' ? '*' : part)).join('.')
}
