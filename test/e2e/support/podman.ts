import { join } from 'node:path'
import { type RunOptions, run } from '../../support/child-process.ts'
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
  /** The digest of the manifest that an image came from. */
  digest(name: string): Promise<string>
}

export type PodmanOptions = {
  /** Files that they find, by their path. */
  readonly files: Readonly<Record<string, string>>
  /** The way out of the machine, which is none; needed where they are not started in a network of their own. */
  readonly internet?: NoInternet
  /** Whose release; the machine's own unless set. */
  readonly suite?: DebianSuite
  /** What starts them, such as a network of their own. */
  readonly by?: RunOptions['by']
}

/** What `podmanStore` needs of the machine. */
export const podmanPrograms = ['podman', 'mount', 'sh', 'unshare'] as const

/** Makes an empty store for tools that read `/etc/containers`. */
export async function podmanStore(options: PodmanOptions): Promise<PodmanStore> {
  await using building = new AsyncDisposableStack()
  const { path: folder } = building.use(await scratchFolder())
  const { files, internet, suite, by = [] } = options
  const root = building.use(await ownRoot({ files, ...(suite && { base: suiteRoot(suite) }) }))
  const store = ['--root', join(folder, 'root'), '--runroot', join(folder, 'run'), '--storage-driver=vfs']
  const environment = { HOME: folder, XDG_RUNTIME_DIR: folder, ...internet?.environment }
  const start = (program: 'podman' | 'buildah' | 'skopeo', ...parameters: string[]) =>
    run(program, parameters, { environment, by: [...by, ...root.by], timeoutMs: 150_000 })
  const podman = (...parameters: string[]) =>
    start('podman', ...store, '--tmpdir', join(folder, 'tmp'), ...parameters)
  const parts = building.move()
  return {
    podman,
    buildah: (...parameters) => start('buildah', ...store, ...parameters),
    skopeo: (...parameters) => start('skopeo', ...parameters),
    digest: async (name) => (await podman('image', 'inspect', '--format', '{{.Digest}}', name)).trim(),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  }
}
