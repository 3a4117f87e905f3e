import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from '../../test/support/child-process.ts'
import { pathOf } from '../../test/support/programs.ts'
import { ServerProcess } from './server-process.ts'

/** A mirror to be measured. */
export interface Contender {
  readonly name: string
  /** Starts it with nothing in its cache, in front of the registry at a URL. To be disposed of by the caller. */
  start(upstream: string): Promise<ServerProcess>
}

const project = join(import.meta.dirname, '../..')

/** As the container has it: built. */
export const larder = larderFrom('dist/main.js')

/** Of a clone that nothing has been built in yet. */
export const larderFromSources = larderFrom('src/main.ts')

function larderFrom(entry: string): Contender {
  return {
    name: 'Larder',
    start: (upstream) =>
      ServerProcess.start(async ({ port, directory }) => {
        // Found first: whatever this machine has in /etc/larder is not for it.
        await writeFile(join(directory, 'mirror.yml'), '')
        const serve = ['serve', '--listen', `127.0.0.1:${port}`, '--data', join(directory, 'data')]
        return {
          program: 'node',
          arguments: [...profiling(), '--max-semi-space-size=1', join(project, entry), ...serve],
          environment: {
            MALLOC_ARENA_MAX: '1',
            MIRROR_UPSTREAMS: JSON.stringify([{ name: 'docker.io', url: upstream }]),
          },
        }
      }),
  }
}

/** Debian's package of distribution 2.8, with its defaults, as a pull-through cache. */
export const dockerRegistry: Contender = {
  name: 'docker-registry',
  start: (upstream) =>
    ServerProcess.start(async ({ port, directory }) => {
      const file = join(directory, 'config.yml')
      await writeFile(file, registryConfig({ port, directory, upstream }))
      return { program: 'docker-registry', arguments: ['serve', file] }
    }),
}

/** The same, as a registry that takes pushes and has no upstream. */
export const dockerRegistryAlone: Contender = {
  name: dockerRegistry.name,
  start: () =>
    ServerProcess.start(async ({ port, directory }) => {
      const file = join(directory, 'config.yml')
      await writeFile(file, registryConfig({ port, directory }))
      return { program: 'docker-registry', arguments: ['serve', file] }
    }),
}

/** The first line of what it says about itself; undefined where it is not installed. */
export async function dockerRegistryVersion(): Promise<string | undefined> {
  if (pathOf('docker-registry') === undefined) return undefined
  return (await run('docker-registry', ['--version'])).trim().split(' ').at(-1)
}

/** JSON is YAML. */
function registryConfig({
  port,
  directory,
  upstream,
}: {
  port: number
  directory: string
  upstream?: string
}): string {
  return JSON.stringify({
    version: '0.1',
    storage: {
      cache: { blobdescriptor: 'inmemory' },
      filesystem: { rootdirectory: join(directory, 'data') },
      delete: { enabled: true },
    },
    http: { addr: `127.0.0.1:${port}` },
    ...(upstream !== undefined && { proxy: { remoteurl: upstream } }),
  })
}

/** LARDER_CPU_PROFILE names a folder to write profiles of Larder to. */
function profiling(): string[] {
  const folder = process.env.LARDER_CPU_PROFILE
  return folder === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${folder}`]
}
