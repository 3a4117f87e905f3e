import { dockerHub, dockerHubAliases } from '../names/docker-hub.ts'
import { isWiderThanAnyNetwork } from '../names/networks.ts'
import type { Config } from './config.ts'
import type { Complaint } from './problems.ts'

/** What the values may say, and hardly mean. They need not be whole: what is wrong is missing. */
export function warningsOf({ server, auth, local, upstreams }: Partial<Config>): Complaint[] {
  const complaints: Complaint[] = []
  const warn = (path: Complaint['path'], message: string) => {
    complaints.push({ path, severity: 'warning', message })
  }
  for (const [index, network] of (server?.trustProxy ?? []).entries()) {
    if (network === undefined || !isWiderThanAnyNetwork(network)) continue
    const danger = 'whoever is in it is believed about whom it asks for, and may push by saying 127.0.0.1'
    warn(['server', 'trustProxy', index], `${network} is more than the web servers in front: ${danger}`)
  }
  const names = (upstreams ?? []).map((upstream) => upstream?.name)
  for (const [index, pattern] of (local?.repositories ?? []).entries()) {
    const [leading = '', ...more] = pattern?.split('/') ?? []
    const upstream = dockerHubAliases.includes(leading) ? dockerHub.name : leading
    if (more.length === 0 || !names.includes(upstream)) continue
    const message = `${pattern} is for nothing: ${leading}/... is mirrored from ${upstream}; begin it with another name`
    warn(['local', 'repositories', index], message)
  }
  if (local?.push === 'users' && auth?.htpasswd === undefined) {
    warn(['local', 'push'], 'nobody can push or delete: there are no users without auth.htpasswd')
  }
  return complaints
}
