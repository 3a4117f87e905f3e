import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { ChildServer, type Finished, finish, type RunOptions, run } from '../../support/child-process.ts'
import { meets, type ProgramName } from '../../support/programs.ts'
import { type DebianSuite, meetsSuite, suiteRoot } from './debian-suite.ts'
import { type NoInternet, startNoInternet } from './no-internet.ts'
import { ownRoot } from './own-root.ts'
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

/** A login at Docker Hub: by password, or by browser, which leaves a token that is shown by itself. */
export type HubLogin = { readonly user: string; readonly password: string; readonly identityToken?: string }

export type DockerDaemonOptions = {
  /** Files that it finds, by their path: `/etc/docker/daemon.json` and others. */
  readonly files: Readonly<Record<string, string>>
  /** The machine's own unless set. */
  readonly release?: DockerRelease
  /** What starts it: a network of its own, where no proxy is needed to keep it in. */
  readonly by?: RunOptions['by']
  /** Who is logged in at Docker Hub, as `docker login` keeps it. */
  readonly hubLogin?: HubLogin
  /** Milliseconds that a command may take; 60 s unless set. */
  readonly timeoutMs?: number
}

/** What `startDockerDaemon` needs of the machine for its own release. */
export const dockerPrograms = ['docker', 'dockerd', 'containerd', 'mount', 'sh', 'unshare'] as const

type Release = {
  readonly program: ProgramName
  readonly beside?: readonly ProgramName[]
  readonly suite?: DebianSuite
}

/** Releases of Docker, and where they come from. */
const dockerReleases = {
  machine: { program: 'dockerd', beside: ['containerd'] },
  '26.1': { program: 'dockerd', suite: 'trixie' },
  '28.5': { program: 'dockerd', suite: 'forky' },
  '29': { program: 'dockerd-29', beside: ['containerd-2.4', 'containerd-shim-runc-v2'] },
} as const satisfies Readonly<Record<string, Release>>
export type DockerRelease = keyof typeof dockerReleases

/** Tells whether a release can be started here, as `meets` does. */
export function meetsDocker(t: TestContext, release: DockerRelease): boolean {
  const { program, beside = [], suite }: Release = dockerReleases[release]
  const programs = [...dockerPrograms, program, ...beside]
  return meets(t, { programs, root: true }) && (suite === undefined || meetsSuite(t, suite))
}

/** Starts a Docker daemon that has no way to Docker Hub. It leaves the machine's network alone. */
export async function startDockerDaemon(options: DockerDaemonOptions): Promise<DockerDaemon> {
  await using building = new AsyncDisposableStack()
  const { path: folder } = building.use(await scratchFolder())
  const internet = building.use(await startNoInternet())
  const socket = `unix://${join(folder, 'docker.sock')}`
  const { program, suite, beside = [] }: Release = dockerReleases[options.release ?? 'machine']
  const root = building.use(await ownRoot({ files: options.files, ...(suite && { base: suiteRoot(suite) }) }))
  const storage = ['--data-root', join(folder, 'data'), '--exec-root', join(folder, 'run')]
  const files = ['--pidfile', join(folder, 'pid'), '--host', socket]
  const network = ['--bridge=none', '--iptables=false', '--ip6tables=false', '--ip-forward=false']
  const server = building.use(
    ChildServer.start(program, [...storage, ...files, ...network, '--ip-masq=false'], {
      // The oldest version of the API: the machine's `docker` may be older than the daemon.
      environment: {
        HOME: folder,
        DOCKER_MIN_API_VERSION: '1.24',
        ...(options.by ? {} : internet.environment),
      },
      by: [...(options.by ?? []), ...root.by],
      ...(suite === undefined && { beside }),
    }),
  )
  // HOME: no one's login is sent along but that of the test.
  if (options.hubLogin) await writeHubLogin(folder, options.hubLogin)
  const cli = { environment: { HOME: folder }, timeoutMs: options.timeoutMs ?? 60_000 }
  await server.ready(
    async () => (await finish('docker', ['--host', socket, 'version'], cli)).code === 0,
    'answers',
  )
  const parts = building.move()
  return {
    attempts: internet.attempts,
    docker: (...parameters) => run('docker', ['--host', socket, ...parameters], cli),
    tryDocker: (...parameters) => finish('docker', ['--host', socket, ...parameters], cli),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  }
}

/** Writes what `docker login` would, were the Hub there to ask. */
async function writeHubLogin(home: string, { user, password, identityToken }: HubLogin): Promise<void> {
  const auth = Buffer.from(`${user}:${password}`).toString('base64')
  const login = { auth, ...(identityToken !== undefined && { identitytoken: identityToken }) }
  await mkdir(join(home, '.docker'))
  const config = JSON.stringify({ auths: { 'https://index.docker.io/v1/': login } })
  await writeFile(join(home, '.docker', 'config.json'), config)
}
