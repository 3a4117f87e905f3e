import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ChildServer, type Finished, finish, run } from '../../support/child-process.ts'
import { type NoInternet, startNoInternet } from './no-internet.ts'
import { scratchFolder } from './scratch-folder.ts'

/** A Docker daemon of the test's own. Dispose to stop it and to remove all that it holds. */
export type DockerDaemon = AsyncDisposable & {
  /** What it tried to reach besides 127.0.0.1. */
  readonly attempts: NoInternet['attempts']
  /** Runs `docker` against it and returns its stdout; rejects where it exits with another code than 0. */
  docker(...parameters: string[]): Promise<string>
  /** Runs `docker` against it, whatever its exit code. */
  tryDocker(...parameters: string[]): Promise<Finished>
}

/** What `startDockerDaemon` needs of the machine. */
export const dockerPrograms = ['docker', 'dockerd', 'containerd'] as const

/** Starts a Docker daemon whose only way to Docker Hub is `mirror`, a URL. It leaves the machine's network alone. */
export async function startDockerDaemon(mirror: string): Promise<DockerDaemon> {
  await using building = new AsyncDisposableStack()
  const { path: folder } = building.use(await scratchFolder())
  const internet = building.use(await startNoInternet())
  const socket = `unix://${join(folder, 'docker.sock')}`
  const storage = ['--data-root', join(folder, 'data'), '--exec-root', join(folder, 'run')]
  const config = join(folder, 'daemon.json')
  await writeFile(config, JSON.stringify({ 'registry-mirrors': [mirror] }))
  const files = ['--config-file', config, '--pidfile', join(folder, 'pid'), '--host', socket]
  const network = ['--bridge=none', '--iptables=false', '--ip-forward=false', '--ip-masq=false']
  const server = building.use(
    ChildServer.start('dockerd', [...storage, ...files, ...network], {
      environment: { HOME: folder, ...internet.environment },
    }),
  )
  // HOME: no one's login is sent along.
  const options = { environment: { HOME: folder }, timeoutMs: 60_000 }
  await server.ready(
    async () => (await finish('docker', ['--host', socket, 'version'], options)).code === 0,
    'answers',
  )
  const parts = building.move()
  return {
    attempts: internet.attempts,
    docker: (...parameters) => run('docker', ['--host', socket, ...parameters], options),
    tryDocker: (...parameters) => finish('docker', ['--host', socket, ...parameters], options),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  }
}
