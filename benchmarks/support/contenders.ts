import { writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { run } from '../../test/support/child-process.ts'
import { pathOf } from '../../test/support/programs.ts'
import { type Place, ServerProcess } from './server-process.ts'

/** A mirror to be measured. */
export interface Contender {
  readonly name: string
  /** Starts it with nothing in its cache, in front of the registry at a URL. To be disposed of by the caller. */
  start(upstream: string, options?: UpstreamOptions): Promise<ServerProcess>
  /** The same as `npm start` runs it, where it is run otherwise. */
  readonly byNpm?: Pick<Contender, 'start'>
}

interface UpstreamOptions {
  /** The file with the authority (PEM) that signed the registry's certificate. */
  readonly ca?: string
}

const project = join(import.meta.dirname, '../..')

/** As the container has it: built. */
export const larder = larderFrom(join(project, 'dist/main.js'))

/** Of a clone that nothing has been built in yet. */
export const larderFromSources = larderFrom(join(project, 'src/main.ts'))

/** What was built from another state of the sources, to be compared with this one. `entry`: its `dist/main.js`. */
export function otherBuild(entry: string): Contender {
  // What the container gave it until it had flags of its own.
  return larderFrom(resolve(entry), { name: 'other build', flags: ['--max-semi-space-size=1'] })
}

interface Started {
  readonly name: string
  /** Of Node. */
  readonly flags: readonly string[]
}

function larderFrom(entry: string, { name, flags }: Started = { name: 'Larder', flags: [] }): Contender {
  return {
    name,
    start: (upstream, options) =>
      ServerProcess.start(async (place) => {
        const serve = ['serve', ...(await larderArguments(place))]
        return {
          program: 'node',
          arguments: [...profiling(), ...flags, entry, ...serve],
          environment: { MALLOC_ARENA_MAX: '1', ...larderEnvironment(upstream, options) },
        }
      }),
    byNpm: {
      start: (upstream, options) =>
        ServerProcess.start(async (place) => ({
          program: 'npm',
          arguments: ['start', '--prefix', join(entry, '../..'), '--', ...(await larderArguments(place))],
          environment: larderEnvironment(upstream, options),
        })),
    },
  }
}

async function larderArguments({ port, directory }: Place): Promise<string[]> {
  // Found first: whatever this machine has in /etc/larder is not for it.
  await writeFile(join(directory, 'mirror.yml'), '')
  return ['--listen', `127.0.0.1:${port}`, '--data', join(directory, 'data')]
}

function larderEnvironment(url: string, options: UpstreamOptions = {}): Record<string, string> {
  return { MIRROR_UPSTREAMS: JSON.stringify([{ name: 'docker.io', url, ...options }]) }
}

/** Debian's package of distribution 2.8, with its defaults, as a pull-through cache. */
export const dockerRegistry: Contender = {
  name: 'docker-registry',
  start: (upstream, { ca } = {}) =>
    ServerProcess.start(async ({ port, directory }) => {
      const file = join(directory, 'config.yml')
      await writeFile(file, registryConfig({ port, directory, upstream }))
      const environment = ca === undefined ? {} : { SSL_CERT_FILE: ca }
      return { program: 'docker-registry', arguments: ['serve', file], environment }
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
