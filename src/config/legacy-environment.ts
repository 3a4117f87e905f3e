import type { Assignment } from './environment.ts'
import type { ConfigProblem } from './problems.ts'
import { dotted } from './value-tree.ts'

const dockerHubHost = 'registry-1.docker.io'

/**
 * Takes over what people set for the `registry:2` image as a proxy, each with a warning that names our setting.
 * A setting of our own wins over it.
 */
export function legacyAssignments(
  environment: NodeJS.ProcessEnv,
  own: readonly Assignment[],
): { assignments: Assignment[]; problems: ConfigProblem[] } {
  const assignments: Assignment[] = []
  const problems: ConfigProblem[] = []
  const take = (
    variable: string,
    path: Assignment['path'],
    instead: string,
    read: (text: string) => unknown,
  ) => {
    const text = environment[variable]
    if (text === undefined || text === '') return
    const top = path[0]
    const winner = own.find((assignment) =>
      top === 'upstreams' ? assignment.path[0] === top : dotted(assignment.path) === dotted(path),
    )
    const message =
      winner === undefined
        ? `${variable} is taken over from registry:2: write ${instead}`
        : `${variable} has no effect, because ${winner.variable} is set`
    problems.push({ where: 'environment', severity: 'warning', message })
    if (winner === undefined) assignments.push({ path, value: read(text), variable })
  }
  take('REGISTRY_HTTP_ADDR', ['server', 'listen'], 'server.listen or MIRROR_SERVER_LISTEN', (text) => text)
  take('REGISTRY_PROXY_REMOTEURL', ['upstreams'], 'upstreams[0].url or MIRROR_UPSTREAMS_0_URL', upstreamsFrom)
  take(
    'REGISTRY_PROXY_USERNAME',
    ['upstreams', 0, 'username'],
    'upstreams[0].username or MIRROR_UPSTREAMS_0_USERNAME',
    (text) => text,
  )
  take(
    'REGISTRY_PROXY_PASSWORD',
    ['upstreams', 0, 'password'],
    'upstreams[0].passwordFile or MIRROR_UPSTREAMS_0_PASSWORD_FILE',
    (text) => text,
  )
  return { assignments, problems }
}

function upstreamsFrom(url: string): unknown {
  const host = URL.parse(url)?.host ?? ''
  // An address that cannot be a registry's name stands for Docker Hub: a mirror before this one.
  const isName = host !== dockerHubHost && /[.:]/.test(host) && /^[a-z0-9.-]+(?::\d+)?$/.test(host)
  return [{ name: isName ? host : 'docker.io', url }]
}
