import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { ChildServer, type Finished, finish, type RunOptions, run } from '../../support/child-process.ts'
import { meets, type ProgramName } from '../../support/programs.ts'
import { type DebianSuite, meetsSuite, suiteRoot } from './debian-suite.ts'
import type { NoInternet } from './no-internet.ts'
import { ownRoot } from './own-root.ts'
import { scratchFolder } from './scratch-folder.ts'

/** A containerd of the test's own. Dispose to stop it and to remove all that it holds. */
export type Containerd = AsyncDisposable & {
  /** Runs `ctr` against it; rejects where it exits with another code than 0. */
  ctr(...parameters: string[]): Promise<string>
  /** Runs `ctr` against it, whatever its exit code. */
  tryCtr(...parameters: string[]): Promise<Finished>
  /** Pulls with `ctr` by the hosts.toml below /etc/containerd/certs.d. */
  pull(name: string): Promise<string>
  /** The digest that an image was pulled by. */
  digest(name: string): Promise<string | undefined>
  /** Runs a container to its end and returns what it printed. */
  run(name: string): Promise<string>
  /** Runs `crictl` against it, which asks as a kubelet does. */
  crictl(...parameters: string[]): Promise<string>
}

export type ContainerdOptions = {
  /** Files that it finds, by their path. */
  readonly files: Readonly<Record<string, string>>
  /** The way out of the machine, which is none; needed where it is not started in a network of its own. */
  readonly internet?: NoInternet
  /** The machine's own unless set. */
  readonly release?: ContainerdRelease
  /** What starts it, such as a network of its own. */
  readonly by?: RunOptions['by']
}

type Release = {
  readonly program: ProgramName
  readonly ctr: ProgramName
  readonly suite?: DebianSuite
}

/** Releases of containerd, and where they come from. */
const containerdReleases = {
  machine: { program: 'containerd', ctr: 'ctr' },
  '1.7': { program: 'containerd', ctr: 'ctr', suite: 'trixie' },
  '2.1': { program: 'containerd', ctr: 'ctr', suite: 'forky' },
  '2.4': { program: 'containerd-2.4', ctr: 'ctr-2.4' },
} as const satisfies Readonly<Record<string, Release>>
export type ContainerdRelease = keyof typeof containerdReleases

/** What `startContainerd` needs of the machine for its own release. */
export const containerdPrograms = ['containerd', 'ctr', 'runc', 'mount', 'sh', 'unshare'] as const

/** Tells whether a release can be started here, as `meets` does. */
export function meetsContainerd(t: TestContext, release: ContainerdRelease): boolean {
  const { program, ctr, suite }: Release = containerdReleases[release]
  const programs = [...containerdPrograms, program, ctr, 'crictl'] as const
  return meets(t, { programs, root: true }) && (suite === undefined || meetsSuite(t, suite))
}

/** Starts containerd with its files at their usual places, and everything else in a folder of the test. */
export async function startContainerd(options: ContainerdOptions): Promise<Containerd> {
  await using building = new AsyncDisposableStack()
  const { path: folder } = building.use(await scratchFolder())
  const { program, ctr: ctrName, suite }: Release = containerdReleases[options.release ?? 'machine']
  const root = building.use(await ownRoot({ files: options.files, ...(suite && { base: suiteRoot(suite) }) }))
  const socket = join(folder, 'c.sock')
  const settings = {
    environment: { HOME: folder, ...options.internet?.environment },
    by: [...(options.by ?? []), ...root.by],
    timeoutMs: 150_000,
  }
  const state = ['--root', join(folder, 'root'), '--state', join(folder, 'state'), '--address', socket]
  const config = ['--config', '/etc/containerd/config.toml']
  const server = building.use(ChildServer.start(program, [...config, ...state], settings))
  const ctr = (...parameters: string[]) => run(ctrName, ['--address', socket, ...parameters], settings)
  await server.ready(
    async () => (await finish(ctrName, ['--address', socket, 'version'], settings)).code === 0,
    'answers',
  )
  const parts = building.move()
  return {
    ctr,
    tryCtr: (...parameters) => finish(ctrName, ['--address', socket, ...parameters], settings),
    pull: (name) => ctr('images', 'pull', '--hosts-dir', '/etc/containerd/certs.d', name),
    async digest(name) {
      const [line = ''] = (await ctr('images', 'list', `name==${name}`)).split('\n').slice(1)
      return /sha256:[0-9a-f]{64}/.exec(line)?.[0]
    },
    // `ctr` has another /run than containerd, so that what they share lies in the folder of the test.
    run: (name) => ctr('run', '--rm', '--fifo-dir', join(folder, 'fifo'), name, 'once'),
    crictl: (...parameters) =>
      run(
        'crictl',
        ['--image-endpoint', `unix://${socket}`, '--runtime-endpoint', `unix://${socket}`, ...parameters],
        {
          environment: { HOME: folder },
          timeoutMs: 150_000,
        },
      ),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  }
}
