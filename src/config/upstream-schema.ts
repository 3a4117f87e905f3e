import * as z from 'zod'
import { describeValue } from './describe-value.ts'
import { convert, expected, path, setting, text } from './setting-types.ts'
import { UnitError } from './units.ts'

const dockerHub = {
  name: 'docker.io',
  url: 'https://registry-1.docker.io',
  realm: 'https://auth.docker.io',
} as const

const label = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?'
// A name's first part in a URL: usually a host, but "campus" will do where `url` says where that is.
const registryName = new RegExp(`^${label}(?:\\.${label})*(?::\\d{1,5})?$`)
const redirectHost = new RegExp(`^(?:\\*\\.)?${label}(?:\\.${label})*(?::\\d{1,5})?$`)
/** Of no upstream: where repositories come from that were pushed here. */
const ownName = 'local'
// As Docker tells a host from a name's first part: it has a dot or a port, or it is "localhost".
const registryHost = /[.:]|^localhost$/
const dockerHubAlias = /^(?:(?:registry-1|index|registry)\.docker\.io|(?:[a-z0-9-]+\.)*docker\.com)$/

const name = setting(
  text("a registry's host such as ghcr.io or localhost:5001").superRefine((input, context) => {
    if (dockerHubAlias.test(input)) {
      context.addIssue({
        code: 'custom',
        message: `Docker Hub is called "docker.io" here; got ${describeValue(input)}`,
      })
    } else if (input === ownName) {
      const message = `"${ownName}" means what is pushed to this mirror: give the registry another name, and its url`
      context.addIssue({ code: 'custom', message })
    } else if (!registryName.test(input)) {
      const message = `expected a registry's host such as ghcr.io or localhost:5001; got ${describeValue(input)}`
      context.addIssue({ code: 'custom', message })
    }
  }),
  {
    description:
      'The registry, as in names of images: `docker.io`, `ghcr.io`, `localhost:5001`. Clients ask for it by `?ns=` or as the first part of a name.',
    examples: ['docker.io', 'ghcr.io'],
  },
  { text: 'text' },
)

const url = setting(
  text('an http or https URL')
    .transform((input, context) => convert(context, () => parseUpstreamUrl(input)))
    .optional(),
  {
    description:
      'Where the registry answers `/v2/`, which may be left out here. Default: https://registry-1.docker.io for docker.io, else https:// and the name.',
    examples: ['https://registry-1.docker.io'],
  },
  { text: 'text' },
)

const realms = setting(
  z
    .array(z.string({ error: expected('a host or an https URL') }), {
      error: expected('a list of hosts or https URLs'),
    })
    .transform((list, context) =>
      list.map((realm, index) => convert(context, () => parseRealm(realm), [index])),
    )
    .optional(),
  {
    description:
      "More hosts that may hand out tokens for this registry; credentials go to no other. The registry's own host, and auth.docker.io for Docker Hub, need no entry.",
  },
)

const redirects = setting(
  z
    .array(z.string({ error: expected('a host such as "cdn.example.com" or "*.example.com"') }), {
      error: expected('a list of hosts such as "cdn.example.com" or "*.example.com"'),
    })
    .transform((list, context) =>
      list.map((host, index) => convert(context, () => parseRedirectHost(host), [index])),
    )
    .optional(),
  {
    description:
      'The only hosts, besides its own, that this registry may send us to for its bytes; `*.example.com` is every host below it. Any public one without it.',
  },
)

const proxy = setting(
  text('the URL of a proxy')
    .transform((input, context) => convert(context, () => parseProxy(input)))
    .optional(),
  { description: 'The HTTP proxy on the way to this registry.', examples: ['http://proxy.lan:3128'] },
  { text: 'text', show: (value) => withoutUserinfo(String(value)) },
)

const entry = z.strictObject(
  {
    name,
    url,
    username: setting(
      text('a user name').optional(),
      { description: 'The account at the registry. Needs `password` or `passwordFile`.' },
      { text: 'text' },
    ),
    password: setting(
      text('a password', { secret: true }).optional(),
      {
        description:
          'The password or access token; better by a variable or `passwordFile` than as text here.',
      },
      { text: 'verbatim', secret: true, show: () => '(set)' },
    ),
    passwordFile: setting(
      path('the path of a file').optional(),
      { description: 'A file that holds the password; a newline at its end is cut.' },
      { text: 'text', path: true },
    ),
    ca: setting(
      path('the path of a file').optional(),
      {
        description:
          "A PEM file of certificate authorities to trust for this registry, besides the system's.",
      },
      { text: 'text', path: true },
    ),
    realms,
    redirects,
    proxy,
  },
  {
    error: (issue) =>
      issue.code === 'invalid_type'
        ? expected('a map with a name such as "- name: docker.io"')(issue)
        : undefined,
  },
)

/** One entry of `upstreams`. In code `url` and `realms` are always there, without a slash at the end. */
export const upstreamSchema = entry
  .superRefine((upstream, context) => checkCredentials(upstream, context), { when: isMap })
  .superRefine((upstream, context) => checkHasUrl(upstream, context), { when: isMap })
  .superRefine((upstream, context) => checkRealms(upstream, context), { when: isMap })
  .transform(({ url, realms = [], ...rest }) => {
    const isDockerHub = rest.name === dockerHub.name && (url === undefined || url === dockerHub.url)
    return {
      ...rest,
      url: url ?? (isDockerHub ? dockerHub.url : `https://${rest.name}`),
      realms: isDockerHub ? [...new Set([dockerHub.realm, ...realms])] : realms,
    }
  })

/** What `upstreams` is when nobody sets it, in the form of the file. */
export const defaultUpstreams: { name: string }[] = [{ name: dockerHub.name }]

type UnfinishedUpstream = Partial<z.output<typeof entry>>

function isMap(payload: z.core.ParsePayload): boolean {
  // Fields may be wrong and this still has something to say: all problems are wanted at once.
  return typeof payload.value === 'object' && payload.value !== null && !Array.isArray(payload.value)
}

function checkCredentials(upstream: UnfinishedUpstream, context: z.RefinementCtx): void {
  const { username, password, passwordFile } = upstream
  const add = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message })
  if (password !== undefined && passwordFile !== undefined) {
    add('passwordFile', 'password and passwordFile are both set: keep one')
  } else if (username !== undefined && password === undefined && passwordFile === undefined) {
    add('username', 'a username needs a password or a passwordFile')
  } else if (username === undefined && password !== undefined) {
    add('password', 'a password needs a username')
  } else if (username === undefined && passwordFile !== undefined) {
    add('passwordFile', 'a passwordFile needs a username')
  }
}

function checkHasUrl({ name, url }: UnfinishedUpstream, context: z.RefinementCtx): void {
  if (typeof name !== 'string' || url !== undefined || registryHost.test(name)) return
  const message = `"${name}" is not a host: it needs a url that says where the registry is`
  context.addIssue({ code: 'custom', path: ['name'], message })
}

function checkRealms(upstream: UnfinishedUpstream, context: z.RefinementCtx): void {
  if (!Array.isArray(upstream.realms) || String(upstream.url).startsWith('http:')) return
  for (const [index, realm] of upstream.realms.entries()) {
    if (String(realm).startsWith('http:')) {
      const message = 'expected https: a registry at https must not send credentials over plain http'
      context.addIssue({ code: 'custom', path: ['realms', index], message })
    }
  }
}

function parseUpstreamUrl(input: string): string {
  const url = parseUrl(input, 'https://ghcr.io')
  if (url.username !== '' || url.password !== '') {
    throw new UnitError('a URL must not hold a user name or password: use username and password')
  }
  if (url.search !== '' || url.hash !== '' || /[?#]/.test(input)) {
    throw new UnitError(`expected a URL without "?" and "#"; got ${describeValue(input)}`)
  }
  if (/(?:^|\.)docker\.io$/.test(url.hostname) && /^\/v1\/*$/.test(url.pathname)) {
    throw new UnitError(
      `${url.host}/v1/ is what Docker calls its login, not a registry: leave url away for docker.io`,
    )
  }
  // People copy it from a log or a test in the browser; the registry is the same.
  return url.href.replace(/\/+$/, '').replace(/\/v2$/, '').replace(/\/+$/, '')
}

function parseRealm(input: string): string {
  const url = parseUrl(input.includes('://') ? input : `https://${input}`, 'https://auth.example.com')
  if (url.username !== '' || url.password !== '')
    throw new UnitError('a realm must not hold a user name or password')
  // A bare host stands for any port and, where the registry itself is at http, for http too.
  return input.includes('://') ? url.origin : url.host
}

function parseRedirectHost(input: string): string {
  const host = input.toLowerCase()
  if (redirectHost.test(host)) return host
  throw new UnitError(
    `expected a host such as "cdn.example.com" or "*.example.com"; got ${describeValue(input)}`,
  )
}

function parseProxy(input: string): string {
  return parseUrl(input, 'http://proxy.lan:3128').href.replace(/\/+$/, '')
}

function parseUrl(input: string, example: string): URL {
  const url = URL.parse(input)
  // The text is repeated only where it cannot hold a password.
  const got = input.includes('@') ? 'something else' : describeValue(input)
  if (url && /^https?:\/\//i.test(input) && url.hostname !== '') return url
  const hint = /^[a-z0-9.-]+(?::\d+)?(?:\/.*)?$/i.test(input)
    ? `: begin with ${example.slice(0, example.indexOf('//') + 2)}`
    : ''
  throw new UnitError(`expected an http or https URL such as ${example}; got ${got}${hint}`)
}

function withoutUserinfo(url: string): string {
  return url.replace(/\/\/[^/]*@/, '//(set)@')
}
