import { lookup } from 'node:dns/promises'
import { existsSync } from 'node:fs'
import { readFile, statfs } from 'node:fs/promises'
import { networkInterfaces } from 'node:os'
import { pushersOf } from '../access/policy.ts'
import type { LoadedConfig } from '../config/load.ts'
import { dockerHub } from '../names/docker-hub.ts'
import { humanBytes } from '../units/human.ts'
import { type Machine, type Reach, reaches, unknownAddress } from './reach.ts'

export interface WelcomeOptions {
  readonly loaded: LoadedConfig
  /** Of the addresses that have one, in their order. */
  readonly ports: readonly number[]
  readonly version: string
  readonly machine: Machine
}

const gap = ' '.repeat(11)

/** What the person who started it is told: where everything is, how to reach it, and what to do next. */
export async function welcome({ loaded, ports, version, machine }: WelcomeOptions): Promise<string> {
  const { config, file, searched } = loaded
  const { tls, listen } = config.server
  const certificate = tls && (await readFile(tls.certificate, 'utf8'))
  const found = await reaches(listen, ports, { machine, certificate })
  const { bavail, bsize } = await statfs(config.storage.dir)
  const names = config.upstreams.map(({ name }) => name)
  const urls = found.map(({ url, scope }) => (scope === 'socket' ? url : `${url}/v2/`))
  return `
larder ${version}  pull-through mirror of ${names.join(', ')}
  data     ${config.storage.dir}  (${humanBytes(bavail * bsize)} free)
  config   ${file ?? `none, all defaults: looked for ${searched.join(', ')}`}
  push     ${pushing(config)}
  listens  ${[...urls, ...remarks(found, machine)].join(`\n${gap}`)}

${nextSteps(found, names)}
`
}

function pushing({ local, auth }: LoadedConfig['config']): string {
  const who = pushersOf(local.push, auth.htpasswd !== undefined)
  const names = local.repositories.join(', ') || 'no name'
  return `${who} may, to ${names} (local.push and local.repositories in mirror.yml)`
}

/** The machine that this process runs on. */
export function thisMachine(environment: NodeJS.ProcessEnv): Machine {
  const isContainer =
    existsSync('/.dockerenv') ||
    existsSync('/run/.containerenv') ||
    environment.KUBERNETES_SERVICE_HOST !== undefined
  return {
    isContainer,
    interfaces: interfaces(),
    lookup: async (name) => (await lookup(name)).address,
  }
}

/** Asking is refused to a service that may open no netlink sockets, which is no reason not to serve. */
function interfaces(): Machine['interfaces'] {
  try {
    return networkInterfaces()
  } catch {
    return {}
  }
}

function remarks(found: readonly Reach[], { isContainer }: Machine): string[] {
  const isReachable = found.some(({ scope }) => scope === 'network')
  const hasPort = found.some(({ scope }) => scope !== 'socket')
  if (!isReachable && hasPort) {
    return isContainer
      ? ['Only this container can reach that, whatever ports are published: set server.listen to ":5000".']
      : ['Other machines cannot reach that: for them set server.listen (or --listen) to ":5000".']
  }
  if (!found.some(({ url }) => url.includes(unknownAddress))) return []
  return [
    isContainer
      ? 'This is a container: the address is that of its host, and the port the one that is published.'
      : 'No address of this machine on any network can be told.',
  ]
}

function nextSteps(found: readonly Reach[], upstreams: readonly string[]): string {
  const best =
    found.find(({ scope }) => scope === 'network') ?? found.find(({ scope }) => scope === 'machine')
  if (best === undefined) return socketSteps(found[0]?.url ?? '')
  const here = found.find(({ nameHere }) => nameHere !== undefined)?.nameHere
  const [first = dockerHub.name] = upstreams
  if (first !== dockerHub.name) {
    const host = here ?? best.url.replace(/^https?:\/\//, '')
    return `  Next     put the mirror's address before the names of images:
           docker pull ${host}/${first}/<name>
  For other clients see docs/clients.md.
`
  }
  const where = best.scope === 'network' ? 'on every machine that runs Docker' : 'on this machine'
  const atOnce = `  Or try it on this machine at once, without changing anything:
           docker pull ${here}/debian:bookworm-slim
`
  return `  Next, ${where}: put this into /etc/docker/daemon.json
           ${JSON.stringify({ 'registry-mirrors': [best.url] })}
  and run  sudo systemctl reload docker
  Then     docker pull debian:bookworm-slim
${here === undefined ? '' : atOnce}`
}

function socketSteps(url: string): string {
  const path = url.slice('unix:'.length)
  return `  Next     put a web server before that socket, since Docker asks for an address with a port; it answers
           curl --unix-socket ${path} http://localhost/v2/
  Or       listen on a port as well: server.listen: [":5000", ${JSON.stringify(url)}]
`
}
