import { readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { run } from '../../test/support/child-process.ts'
import { pathOf } from '../../test/support/programs.ts'
import { type Place, ServerProcess } from './server-process.ts'

/** A mirror to be measured. */
export interface Contender {
  readonly name: string
  /** Starts it with nothing in its cache, in front of the registry at a URL. To be disposed of by the caller. */
  start(upstream: string, options?: StartOptions): Promise<ServerProcess>
  /** The same as `npm start` runs it, where it is run otherwise. */
  readonly byNpm?: Pick<Contender, 'start'>
}

interface StartOptions {
  /** The file with the authority (PEM) that signed the registry's certificate. */
  readonly ca?: string
  /** Further variables of Larder, such as MIRROR_LIMITS_RATE; docker-registry knows none of them. */
  readonly settings?: Readonly<Record<string, string>>
}

const project = join(import.meta.dirname, '../..')

/** Builds `dist/` where it is not what the sources are. Rejects with what is wrong with them. */
export async function buildLarder(): Promise<void> {
  await run('node', [join(project, 'tools/build.ts'), '--if-stale'])
}

/** Built: after `buildLarder`. */
export const larder = larderFrom(join(project, 'dist/main.js'))

/** Of a clone that nothing has been built in yet. */
export const larderFromSources = larderFrom(join(project, 'src/main.ts'))

/** What was built from another state of the sources, to be compared with this one. `entry`: its `dist/main.js`. */
export function otherBuild(entry: string): Contender {
  return larderFrom(resolve(entry), 'other build')
}

/** With the environment and the flags of Node that its own `npm start` gives it. */
function larderFrom(entry: string, name = 'Larder'): Contender {
  return {
    name,
    start: (upstream, options) =>
      ServerProcess.start(async (place) => {
        const manifest = JSON.parse(await readFile(join(entry, '../../package.json'), 'utf8'))
        const { environment, flags } = readStart(manifest.scripts.start)
        const serve = ['serve', ...(await larderArguments(place))]
        return {
          program: 'node',
          arguments: [...profiling(), ...flags, entry, ...serve],
          environment: { ...environment, ...larderEnvironment(upstream, options) },
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

interface Start {
  readonly environment: Readonly<Record<string, string>>
  /** Of Node. */
  readonly flags: readonly string[]
}

/** What a `start` script gives to the program, such as `... exec env A=1 node --flag dist/main.js serve`. Throws where it starts none. */
export function readStart(script: string): Start {
  const found = /\bexec (?:env )?((?:\w+=\S+ )*)node ((?:-\S+ )*)\S+ serve$/.exec(script)
  if (!found) throw new Error(`there is no program in the start script: ${script}`)
  const [variables, flags] = found.slice(1).map((words) => words.split(' ').filter(Boolean))
  const pairs = variables?.map((word): [string, string] => {
    const at = word.indexOf('=')
    return [word.slice(0, at), word.slice(at + 1)]
  })
  return { environment: Object.fromEntries(pairs ?? []), flags: flags ?? [] }
}

async function larderArguments({ port, directory }: Place): Promise<string[]> {
  // Found first: whatever this machine has in /etc/larder is not for it.
  await writeFile(join(directory, 'mirror.yml'), '')
  return ['--listen', `127.0.0.1:${port}`, '--data', join(directory, 'data')]
}

function larderEnvironment(
  url: string,
  { settings, ...upstream }: StartOptions = {},
): Record<string, string> {
  return { MIRROR_UPSTREAMS: JSON.stringify([{ name: 'docker.io', url, ...upstream }]), ...settings }
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
