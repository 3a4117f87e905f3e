// The programs that push, as their users type it. Each starts with a home of its own, so that nobody's login is in it.
import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Finished, finish } from '../../support/child-process.ts'
import type { TestImage } from '../../support/images.ts'
import type { ProgramName } from '../../support/programs.ts'
import { type ContainerdRelease, containerdPrograms, startContainerd } from './containerd.ts'
import { type DockerRelease, dockerPrograms, startDockerDaemon } from './docker-daemon.ts'
import { type NoInternet, startNoInternet } from './no-internet.ts'
import { writeLayout } from './oci-layout.ts'
import { podmanPrograms, podmanStore } from './podman.ts'
import { scratchFolder } from './scratch-folder.ts'

/** A program that has an image to push. Dispose to remove all that it holds. */
export interface Pusher extends AsyncDisposable {
  login(user: string, password: string): Promise<Finished>
  logout(): Promise<Finished>
  /** Pushes the image under `name`, which is without the host: `app:v1`. */
  push(name: string): Promise<Finished>
  /** What it said that the digest is; undefined where it says nothing. */
  digestIn(pushed: Finished): Promise<string | undefined>
  /** Pulls it, as if it had never had it. */
  pull(name: string): Promise<Finished>
  /** Deletes a tag, or what it points to; undefined where the program has no command for it. */
  remove?(name: string): Promise<Finished>
  /** What was tried to be reached besides 127.0.0.1. */
  readonly attempts: readonly string[]
}

export interface PusherKind {
  readonly name: string
  readonly programs: readonly ProgramName[]
  readonly needsRoot?: true
  /** It stores a login without trying it: a wrong one shows with the first push. */
  readonly believesLogins?: true
  /** It says that it was refused, and not why. */
  readonly hidesReasons?: true
  /** What it pushes, where that is not the image byte for byte. */
  readonly pushes?: 'the image, compressed anew' | 'something else'
  /** What its command takes away: the manifest behind the tag, with all other tags of it, or the tag alone. */
  readonly removes?: 'tag' | 'manifest'
  /** `host`: of the registry. */
  start(host: string, image: TestImage): Promise<Pusher>
}

const sha256 = /sha256:[0-9a-f]{64}/

/** What a program finds: a folder as its home, no way out, and the image as an OCI layout. */
interface Workplace {
  readonly home: string
  readonly layout: string
  readonly internet: NoInternet
  finish(program: ProgramName, ...parameters: string[]): Promise<Finished>
  /** What ends with the program. */
  own<Part extends AsyncDisposable>(part: Part): Part
}

type Commands = Pick<Pusher, 'login' | 'logout' | 'push' | 'pull'> & Partial<Pusher>

/** Makes a workplace, and a program of what `commandsAt` it can be typed. */
async function pusherOf(
  image: TestImage,
  commandsAt: (place: Workplace) => Promise<Commands>,
): Promise<Pusher> {
  await using building = new AsyncDisposableStack()
  const { path: home } = building.use(await scratchFolder())
  const internet = building.use(await startNoInternet())
  const layout = join(home, 'layout')
  await writeLayout(layout, 'v1', image)
  const settings = {
    environment: { HOME: home, XDG_RUNTIME_DIR: home, ...internet.environment },
    workingDirectory: home,
  }
  const commands = await commandsAt({
    home,
    layout,
    internet,
    finish: (program, ...parameters) => finish(program, parameters, settings),
    own: (part) => building.use(part),
  })
  const parts = building.move()
  return {
    attempts: internet.attempts,
    digestIn: async ({ stdout, stderr }) => sha256.exec(stdout + stderr)?.[0],
    ...commands,
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  }
}

const crane: PusherKind = {
  name: 'crane',
  programs: ['crane'],
  removes: 'tag',
  believesLogins: true,
  start: (host, image) =>
    pusherOf(image, async ({ home, layout, finish }) => {
      const crane = (...parameters: string[]) => finish('crane', '--insecure', ...parameters)
      return {
        login: (user, password) => crane('auth', 'login', host, '--username', user, '--password', password),
        logout: () => crane('auth', 'logout', host),
        push: (name) => crane('push', layout, `${host}/${name}`),
        pull: (name) => crane('pull', '--format', 'oci', `${host}/${name}`, join(home, 'pulled')),
        remove: (name) => crane('delete', `${host}/${name}`),
      }
    }),
}

const regctl: PusherKind = {
  name: 'regctl',
  programs: ['regctl'],
  hidesReasons: true,
  removes: 'tag',
  start: (host, image) =>
    pusherOf(image, async ({ home, layout, finish }) => {
      const regctl = (...parameters: string[]) => finish('regctl', ...parameters)
      await regctl('registry', 'set', host, '--tls', 'disabled')
      return {
        login: (user, password) => regctl('registry', 'login', host, '--user', user, '--pass', password),
        logout: () => regctl('registry', 'logout', host),
        push: (name) => regctl('image', 'copy', `ocidir://${layout}:v1`, `${host}/${name}`),
        digestIn: async () => undefined,
        pull: (name) => regctl('image', 'copy', `${host}/${name}`, `ocidir://${join(home, 'pulled')}:v1`),
        remove: (name) => regctl('tag', 'delete', `${host}/${name}`),
      }
    }),
}

const oras: PusherKind = {
  name: 'oras',
  programs: ['oras'],
  removes: 'manifest',
  start: (host, image) =>
    pusherOf(image, async ({ home, layout, finish }) => {
      const oras = (...parameters: string[]) => finish('oras', ...parameters)
      const copied = join(home, 'pulled')
      return {
        login: (user, password) => oras('login', '--plain-http', '-u', user, '-p', password, host),
        logout: () => oras('logout', host),
        push: (name) =>
          oras('copy', '--from-oci-layout', `${layout}:v1`, '--to-plain-http', `${host}/${name}`),
        pull: (name) =>
          oras('copy', '--from-plain-http', `${host}/${name}`, '--to-oci-layout', `${copied}:v1`),
        remove: (name) => oras('manifest', 'delete', '--force', '--plain-http', `${host}/${name}`),
      }
    }),
}

const helm: PusherKind = {
  name: 'helm',
  programs: ['helm'],
  pushes: 'something else',
  start: (host, image) =>
    pusherOf(image, async ({ home, finish }) => {
      const helm = (...parameters: string[]) => finish('helm', ...parameters)
      /** `local/app:0.1.0` is the version 0.1.0 of the chart app at oci://HOST/local. */
      const read = (name: string) => {
        const [path = '', version = ''] = name.split(':')
        const [chart = '', ...above] = path.split('/').reverse()
        return { chart, version, folder: [`oci://${host}`, ...above.reverse()].join('/') }
      }
      return {
        login: (user, password) =>
          helm('registry', 'login', host, '--plain-http', '--username', user, '--password', password),
        logout: () => helm('registry', 'logout', host),
        async push(name) {
          const { chart, version, folder } = read(name)
          const packed = join(home, `${chart}-${version}.tgz`)
          // Packed once more it has other times in it.
          if (!existsSync(packed)) {
            const about = `apiVersion: v2\nname: ${chart}\nversion: ${version}\n`
            await mkdir(join(home, chart), { recursive: true })
            await writeFile(join(home, chart, 'Chart.yaml'), about)
            await helm('package', chart)
          }
          return helm('push', '--plain-http', packed, folder)
        },
        pull(name) {
          const { chart, version, folder } = read(name)
          return helm('pull', '--plain-http', `${folder}/${chart}`, '--version', version)
        },
      }
    }),
}

const skopeo: PusherKind = {
  name: 'skopeo',
  programs: ['skopeo'],
  removes: 'manifest',
  start: (host, image) =>
    pusherOf(image, async ({ home, layout, finish }) => {
      const skopeo = (...parameters: string[]) => finish('skopeo', ...parameters)
      const file = join(home, 'digest')
      const there = (name: string) => `docker://${host}/${name}`
      const pulled = `oci:${join(home, 'pulled')}:v1`
      return {
        login: (user, password) => skopeo('login', '--tls-verify=false', '-u', user, '-p', password, host),
        logout: () => skopeo('logout', host),
        push: (name) =>
          skopeo('copy', '--dest-tls-verify=false', '--digestfile', file, `oci:${layout}:v1`, there(name)),
        digestIn: () => readFile(file, 'utf8'),
        pull: (name) => skopeo('copy', '--src-tls-verify=false', there(name), pulled),
        remove: (name) => skopeo('delete', '--tls-verify=false', there(name)),
      }
    }),
}

/** Podman and Buildah: one library, and commands of the same form. */
function ofStore(program: 'podman' | 'buildah'): PusherKind {
  return {
    name: program,
    programs: [...podmanPrograms, program, 'skopeo'],
    needsRoot: true,
    pushes: 'the image, compressed anew',
    start: (host, image) =>
      pusherOf(image, async ({ home, layout, internet, own, finish }) => {
        const store = own(await podmanStore({ internet, files: {} }))
        const start = (...parameters: string[]) => store.finish(program, ...parameters)
        const file = join(home, 'digest')
        const loaded = 'docker.io/library/image:v1'
        const archive = join(home, 'image.tar')
        await finish('skopeo', 'copy', `oci:${layout}:v1`, `docker-archive:${archive}:image:v1`)
        await store.podman('load', '--input', archive)
        return {
          login: (user, password) => start('login', '--tls-verify=false', '-u', user, '-p', password, host),
          logout: () => start('logout', host),
          push: (to) =>
            start('push', '--tls-verify=false', '--digestfile', file, loaded, `docker://${host}/${to}`),
          digestIn: () => readFile(file, 'utf8'),
          async pull(from) {
            await start('rmi', '--force', `${host}/${from}`)
            return start('pull', '--tls-verify=false', `${host}/${from}`)
          },
        }
      }),
  }
}

/** A Docker daemon of its own. `containerdStore`: which of its stores; that of the release unless set. */
export function dockerPusher(release: DockerRelease = 'machine', containerdStore?: boolean): PusherKind {
  const store = containerdStore === undefined ? '' : `, ${containerdStore ? 'containerd' : 'classic'} store`
  return {
    name: `docker ${release}${store}`,
    programs: [...dockerPrograms, 'skopeo'],
    needsRoot: true,
    pushes: 'the image, compressed anew',
    start: (host, image) =>
      pusherOf(image, async ({ home, layout, finish, own }) => {
        const features = { 'containerd-snapshotter': containerdStore }
        const settings = containerdStore === undefined ? {} : { features }
        const daemon = own(
          await startDockerDaemon({
            release,
            files: { '/etc/docker/daemon.json': JSON.stringify(settings) },
          }),
        )
        const archive = join(home, 'image.tar')
        await finish('skopeo', 'copy', `oci:${layout}:v1`, `docker-archive:${archive}:image:v1`)
        await daemon.docker('load', '--input', archive)
        return {
          attempts: daemon.attempts,
          login: (user, password) =>
            daemon.tryDocker('login', '--username', user, '--password', password, host),
          logout: () => daemon.tryDocker('logout', host),
          async push(name) {
            await daemon.docker('tag', 'image:v1', `${host}/${name}`)
            return daemon.tryDocker('push', `${host}/${name}`)
          },
          async pull(name) {
            await daemon.tryDocker('rmi', '--force', `${host}/${name}`)
            return daemon.tryDocker('pull', `${host}/${name}`)
          },
        }
      }),
  }
}

/** containerd has no login: each command is told of it. */
export function containerdPusher(release: ContainerdRelease = 'machine'): PusherKind {
  return {
    name: `containerd ${release}`,
    programs: [...containerdPrograms, 'tar'],
    needsRoot: true,
    believesLogins: true,
    hidesReasons: true,
    start: (host, image) =>
      pusherOf(image, async ({ home, layout, internet, finish, own }) => {
        const { ctr, tryCtr } = own(await startContainerd({ release, internet, files: {} }))
        const archive = join(home, 'image.tar')
        await finish('tar', '--create', '--file', archive, '--directory', layout, '.')
        await ctr('images', 'import', '--base-name', 'image', archive)
        let user: readonly string[] = []
        const said = (change: () => void) => async () => {
          change()
          return { code: 0, stdout: '', stderr: '' }
        }
        return {
          login: (name, password) =>
            said(() => {
              user = ['--user', `${name}:${password}`]
            })(),
          logout: said(() => {
            user = []
          }),
          push: (name) => tryCtr('images', 'push', '--plain-http', ...user, `${host}/${name}`, 'image:v1'),
          digestIn: async () => undefined,
          async pull(name) {
            await tryCtr('images', 'remove', '--sync', `${host}/${name}`)
            return tryCtr('images', 'pull', '--plain-http', `${host}/${name}`)
          },
        }
      }),
  }
}

/** Those that every run of the tests drives, each in one release. */
export const pushers: readonly PusherKind[] = [
  dockerPusher(),
  containerdPusher(),
  ofStore('podman'),
  ofStore('buildah'),
  skopeo,
  crane,
  regctl,
  oras,
  helm,
]
