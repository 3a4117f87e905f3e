import { createHash } from 'node:crypto'

/** An upstream, as far as it is told how it does. */
interface ShownUpstream {
  readonly name: string
  readonly isReachable: boolean
  /** Undefined where there is no account. */
  readonly isAccountRefused: boolean | undefined
  /** As anyone and as the account: whether it has told us to wait, with pulls or with all requests. */
  readonly limits: { readonly held: readonly { readonly pulls: boolean; readonly all: boolean }[] }
}

/** What the first page tells, in either form. */
export interface StartPage {
  /** Such as `http://192.168.1.20:5000`, as the reader's client wrote it; a path may stand behind it. */
  readonly url: string
  /** In the order of the configuration. */
  readonly upstreams: readonly ShownUpstream[]
  /** How much of what was asked for is still to be fetched, by the name of its upstream. */
  readonly wanted: ReadonlyMap<string, number>
  /** Who may push, for a sentence. */
  readonly pushers: string
}

/** One thing to write, and where. */
interface Recipe {
  readonly title: string
  /** What to do with it, in plain words; what is to be written as it is stands between backticks. */
  readonly hint: string
  readonly text: string
}

const style = `
:root { color-scheme: light dark; --ink: #1d2327; --soft: #545d64; --paper: #fdfcfa; --box: #f1efea; --line: #d8d4cc; --link: #0b5c8a }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e4df; --soft: #a9b0b5; --paper: #16191c; --box: #20252a; --line: #3a4148; --link: #7cc4ee } }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.55 system-ui, sans-serif }
main { max-width: 44rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem }
h1 { margin: 0 0 .25rem; font-size: 1.75rem; line-height: 1.2 }
h2 { margin: 2.25rem 0 .25rem; font-size: 1.1rem }
p { margin: .4rem 0 .6rem; overflow-wrap: anywhere }
.soft { color: var(--soft) }
a { color: var(--link) }
code, pre { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .9em }
pre { margin: .5rem 0; padding: .75rem .9rem; overflow-x: auto; background: var(--box); border: 1px solid var(--line); border-radius: .4rem }
pre:focus-visible, a:focus-visible { outline: 2px solid var(--link); outline-offset: 2px }
`

/** The header that goes with `startPageHtml`: nothing but its own style is loaded, run, framed or sent. */
export const startPagePolicy = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

/** The page for a browser. Everything that is not ours is escaped. */
export function startPageHtml(page: StartPage): string {
  const path = escapeHtml(pathOf(page))
  const recipes = recipesFor(page).map(
    ({ title, hint, text }) =>
      `<h2>${escapeHtml(title)}</h2>\n<p>${withCode(hint)}</p>\n<pre tabindex="0" aria-label="${escapeHtml(title)}">${escapeHtml(text)}</pre>`,
  )
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Larder at ${escapeHtml(hostOf(page))}</title>
<style>${style}</style>
</head>
<body>
<main>
<h1>Larder works</h1>
<p>${withCode(summaryOf(page))}</p>
${recipes.join('\n')}
<h2>Read on</h2>
<p><a href="${path}/healthz">/healthz</a>: it is alive. <a href="${path}/readyz">/readyz</a>: its store can be used. <a href="${path}/metrics">/metrics</a>: figures for Prometheus.</p>
<p class="soft">${withCode(documents)}</p>
</main>
</body>
</html>
`
}

/** The same for a terminal. */
export function startPageText(page: StartPage): string {
  const recipes = recipesFor(page).map(
    ({ title, hint, text }) => `${title}\n  ${hint}\n\n${text.replace(/^(?=.)/gm, '    ')}\n`,
  )
  return [
    `Larder works. ${summaryOf(page)}\n`,
    ...recipes,
    `Read on: ${page.url}/healthz, /readyz, /metrics. ${documents}\n`,
  ].join('\n')
}

const documents =
  'Other clients, other registries, what to do when something fails: `docs/clients.md`, `docs/routing.md` and `docs/operating.md` of the project.'

function summaryOf(page: StartPage): string {
  const host = hostOf(page)
  const served = page.upstreams.map((upstream) => {
    const trouble = troubleOf(upstream)
    return trouble === undefined ? upstream.name : `${upstream.name} (which ${trouble})`
  })
  const what = `This machine keeps a copy of what is pulled from ${new Intl.ListFormat('en').format(served)}, so that the next pull is local. ${wantedOf(page)}Who may push to it, and delete: ${page.pushers}.`
  return isLoopback(host)
    ? `${what} You came by \`${host}\`, which leads to the machine itself only: on another machine, write this one's name or address instead.`
    : what
}

function troubleOf({ isReachable, isAccountRefused, limits }: ShownUpstream): string | undefined {
  const served = 'at the moment: what is here is served'
  if (!isReachable) return `cannot be reached ${served}`
  if (limits.held.some(({ all }) => all)) return `refuses all requests ${served}`
  // With an account it is enough that one of the two gets some.
  if (limits.held.every(({ pulls }) => pulls)) return `gives us no more pulls ${served}`
  return isAccountRefused ? 'refuses the user name and password that are configured for it' : undefined
}

/** Not by name: who may see this page may not know what others asked for. */
function wantedOf({ wanted }: StartPage): string {
  const left = [...wanted].filter(([, count]) => count > 0)
  if (left.length === 0) return ''
  const parts = left.map(([name, count]) => `${count} ${count === 1 ? 'thing' : 'things'} from ${name}`)
  return `What was asked for and could not be had is fetched when it can be: ${new Intl.ListFormat('en').format(parts)}. `
}

function recipesFor(page: StartPage): Recipe[] {
  const { url } = page
  const host = hostOf(page)
  const names = page.upstreams.map(({ name }) => name)
  const isSecure = url.startsWith('https:')
  const hub = 'docker.io'
  const image =
    names[0] === hub
      ? 'debian:bookworm-slim'
      : names.includes(hub)
        ? 'docker.io/library/debian:bookworm-slim'
        : `${names[0]}/OWNER/NAME`
  const other = names.find((name) => name !== hub && name !== names[0])
  const direct: Recipe = {
    title: 'Without any setting',
    hint:
      isSecure || isLoopback(host)
        ? 'Name the mirror in the reference.'
        : `Name the mirror in the reference. For plain HTTP from another machine Docker wants \`"insecure-registries": ["${host}"]\` in its daemon.json, and podman \`--tls-verify=false\`.`,
    text: [`${host}/${image}`, ...(other ? [`${host}/${other}/OWNER/NAME`] : [])]
      .map((reference) => `docker pull ${reference}`)
      .join('\n'),
  }
  // The first part of a reference is a host alone: what stands behind it is a repository's name.
  const isBelowPath = pathOf(page) !== ''
  if (!names.includes(hub)) return isBelowPath ? [] : [direct]
  const insecure = isSecure ? '' : '\ninsecure = true'
  const location = names[0] === hub ? host : `${host}/${hub}`
  const docker: Recipe = {
    title: 'Docker',
    hint: 'In `/etc/docker/daemon.json`, then `sudo systemctl reload docker`. From then on `docker pull debian:bookworm-slim` comes from here, and from Docker Hub itself while this mirror is off.',
    text: `{ "registry-mirrors": ["${names[0] === hub ? url : `${url}/${hub}`}"] }`,
  }
  const podman: Recipe = {
    title: 'Podman, Buildah, Skopeo, CRI-O',
    hint: 'In `/etc/containers/registries.conf.d/50-larder.conf`:',
    text: `[[registry]]\nlocation = "docker.io"\n\n[[registry.mirror]]\nlocation = "${location}"${insecure}`,
  }
  const containerd: Recipe = {
    title: 'containerd',
    hint: 'In `/etc/containerd/certs.d/docker.io/hosts.toml`; from containerd 2.2 on, add `"referrers"` to the capabilities.',
    text: `server = "https://registry-1.docker.io"\n\n[host."${url}"]\n  capabilities = ["pull", "resolve"]\n  dial_timeout = "2s"`,
  }
  return isBelowPath ? [docker, containerd] : [docker, direct, podman, containerd]
}

function hostOf({ url }: StartPage): string {
  return new URL(url).host
}

/** Without a slash at its end; empty where the mirror has an address of its own. */
function pathOf({ url }: StartPage): string {
  return new URL(url).pathname.replace(/\/$/, '')
}

function isLoopback(host: string): boolean {
  return /^(?:127\.[0-9.]+|localhost|\[::1\])(?::\d+)?$/i.test(host)
}

/** What stands between backticks as code. */
function withCode(text: string): string {
  return escapeHtml(text).replace(/`([^`]*)`/g, '<code>$1</code>')
}

function escapeHtml(text: string): string {
  const escapes: Record<string, string> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;',
  }
  return text.replace(/[&<>"']/g, (character) => escapes[character] ?? '')
}
