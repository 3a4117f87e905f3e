import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type Finished, finish, type RunOptions, run } from '../../support/child-process.ts'
import { type DebianSuite, suiteRoot } from './debian-suite.ts'
import type { NoInternet } from './no-internet.ts'
import { ownRoot } from './own-root.ts'
import { scratchFolder } from './scratch-folder.ts'

/** Podman, Buildah and Skopeo with an empty store. Dispose to remove it. */
export type PodmanStore = AsyncDisposable & {
  /** Runs `podman`; rejects where it exits with another code than 0. */
  podman(...parameters: string[]): Promise<string>
  /** Runs `buildah` on the same store. */
  buildah(...parameters: string[]): Promise<string>
  skopeo(...parameters: string[]): Promise<string>
  /** Runs one of them, whatever its exit code. */
  finish(program: StoreProgram, ...parameters: string[]): Promise<Finished>
  /** The digest of the manifest that an image came from. */
  digest(name: string): Promise<string>
}

type StoreProgram = 'podman' | 'buildah' | 'skopeo'

export type PodmanOptions = {
  /** Files that they find, by their path. */
  readonly files: Readonly<Record<string, string>>
  /** The way out of the machine, which is none; needed where they are not started in a network of their own. */
  readonly internet?: NoInternet
  /** Whose release; the machine's own unless set. */
  readonly suite?: DebianSuite
  /** How it keeps layers; `vfs` unless set, which works everywhere and knows no partial pulls. */
  readonly driver?: 'vfs' | 'overlay'
  /** What starts them, such as a network of their own. */
  readonly by?: RunOptions['by']
}

/** What `podmanStore` needs of the machine. */
export const podmanPrograms = ['podman', 'mount', 'sh', 'unshare'] as const

/** Makes an empty store for tools that read `/etc/containers`. */
export async function podmanStore(options: PodmanOptions): Promise<PodmanStore> {
  await using building = new AsyncDisposableStack()
  const { path: folder } = building.use(await scratchFolder())
  const { files, internet, suite, driver = 'vfs', by = [] } = options
  const root = building.use(await ownRoot({ files, ...(suite && { base: suiteRoot(suite) }) }))
  const environment = { HOME: folder, XDG_RUNTIME_DIR: folder, ...internet?.environment }
  const settings = { environment, by: [...by, ...root.by, await rememberedBlobs(folder)], timeoutMs: 150_000 }
  const store = [
    '--root',
    join(folder, 'root'),
    '--runroot',
    join(folder, 'run'),
    `--storage-driver=${driver}`,
  ]
  const ofStore = {
    podman: [...store, '--tmpdir', join(folder, 'tmp')],
    buildah: store,
    skopeo: [],
  }
  const start = (program: StoreProgram, ...parameters: string[]) =>
    run(program, [...ofStore[program], ...parameters], settings)
  const podman = (...parameters: string[]) => start('podman', ...parameters)
  const parts = building.move()
  return {
    podman,
    buildah: (...parameters) => start('buildah', ...parameters),
    skopeo: (...parameters) => start('skopeo', ...parameters),
    finish: (program, ...parameters) => finish(program, [...ofStore[program], ...parameters], settings),
    digest: async (name) => (await podman('image', 'inspect', '--format', '{{.Digest}}', name)).trim(),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  }
}

/**
 * What the library knows of blobs and registries has a fixed place, and a root of its own is new each time: without
 * that it compresses each layer anew, and sends it again.
 */
async function rememberedBlobs(folder: string): Promise<readonly ['sh', ...string[]]> {
  const kept = join(folder, 'cache')
  await mkdir(kept)
  const bind = 'mkdir -p "$1" && mount --bind "$2" "$1" && shift 2 && exec "$@"'
  return ['sh', '-c', bind, 'sh', '/var/lib/containers/cache', kept]
}
