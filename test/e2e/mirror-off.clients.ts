// How long a client waits for a mirror that is off before it goes on to the registry itself, which does not exist in
// these tests: so the whole pull takes as long as the wait. The figures are those of docs/clients.md.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { meets } from '../support/programs.ts'
import { fileOfPage } from './support/clients-page.ts'
import { type ContainerdRelease, meetsContainerd, startContainerd } from './support/containerd.ts'
import { type DebianSuite, meetsSuite } from './support/debian-suite.ts'
import { type DockerRelease, meetsDocker, startDockerDaemon } from './support/docker-daemon.ts'
import { podmanPrograms, podmanStore } from './support/podman.ts'
import { silentAddress, silentNetwork, silentPrograms } from './support/silent-network.ts'

const daemonJson = '/etc/docker/daemon.json'
const dockerHosts = '/etc/docker/certs.d/docker.io/hosts.toml'
const hosts = '/etc/containerd/certs.d/docker.io/hosts.toml'
const configToml = '/etc/containerd/config.toml'

/** Nothing listens at this one: the machine is on, Larder is not. */
const refusing = '127.0.0.1:1'

type DockerCase = readonly [
  release: DockerRelease,
  what: string,
  files: (mirror: string) => Files,
  seconds: number,
]
type Files = Readonly<Record<string, string>>

const containerdStore = { [daemonJson]: JSON.stringify({ features: { 'containerd-snapshotter': true } }) }
const dockers: readonly DockerCase[] = [
  ['machine', 'registry-mirrors', (mirror) => fileOfPage(daemonJson, mirror), 15],
  ['26.1', 'registry-mirrors', (mirror) => fileOfPage(daemonJson, mirror), 15],
  ['28.5', 'registry-mirrors', (mirror) => fileOfPage(daemonJson, mirror), 15],
  [
    '28.5',
    'hosts.toml',
    (mirror) => ({ ...fileOfPage(dockerHosts, mirror, 'docker-28'), ...containerdStore }),
    2,
  ],
  ['29', 'registry-mirrors', (mirror) => fileOfPage(daemonJson, mirror), 30],
  ['29', 'hosts.toml', (mirror) => fileOfPage(dockerHosts, mirror, 'docker-29'), 2],
]

for (const [release, what, files, seconds] of dockers) {
  test(`Docker ${release}, ${what}: a mirror that is off costs ${seconds} s`, {
    timeout: 180_000,
  }, async (t) => {
    if (!meetsDocker(t, release) || !meets(t, { programs: silentPrograms })) return
    for (const [mirror, expected] of [[refusing, 0] as const, [silentAddress, seconds] as const]) {
      const network = { by: silentNetwork, timeoutMs: 120_000 }
      await using daemon = await startDockerDaemon({ release, files: files(mirror), ...network })
      await takes(t, expected, async () => {
        const { code, stderr } = await daemon.tryDocker('pull', 'alpine')
        assert.notEqual(code, 0)
        return stderr
      })
    }
  })
}

type ContainerdCase = readonly [
  release: ContainerdRelease,
  variants: readonly [string, string],
  seconds: number,
]

const containerds: readonly ContainerdCase[] = [
  ['1.7', ['containerd-2.1', 'containerd-1'], 30],
  ['2.1', ['containerd-2.1', 'containerd-2'], 2],
  ['2.4', ['containerd-2.2', 'containerd-2'], 2],
]

for (const [release, [variant, config], seconds] of containerds) {
  test(`containerd ${release}: a mirror that is off costs ${seconds} s`, { timeout: 120_000 }, async (t) => {
    if (!meetsContainerd(t, release) || !meets(t, { programs: silentPrograms })) return
    for (const [mirror, expected] of [[refusing, 0] as const, [silentAddress, seconds] as const]) {
      const files = { ...fileOfPage(hosts, mirror, variant), ...fileOfPage(configToml, mirror, config) }
      await using containerd = await startContainerd({ release, files, by: silentNetwork })
      await takes(t, expected, () => failure(containerd.crictl('pull', 'docker.io/library/alpine')))
    }
  })
}

const podmans: readonly (readonly [release: string, suite: DebianSuite | undefined, seconds: number])[] = [
  ['4.3', undefined, 120],
  ['5.4', 'trixie', 60],
  ['5.8', 'forky', 60],
]

for (const [release, suite, seconds] of podmans) {
  test(`Podman ${release}: a mirror that is off costs ${seconds} s`, { timeout: 240_000 }, async (t) => {
    if (!meets(t, { programs: [...podmanPrograms, ...silentPrograms], root: true })) return
    if (suite !== undefined && !meetsSuite(t, suite)) return
    for (const [mirror, expected] of [[refusing, 0] as const, [silentAddress, seconds] as const]) {
      const files = fileOfPage('/etc/containers/registries.conf.d/50-larder.conf', mirror)
      await using store = await podmanStore({ files, by: silentNetwork, ...(suite && { suite }) })
      await takes(t, expected, () => failure(store.podman('pull', 'docker.io/library/alpine')))
    }
  })
}

/** The text of the error that is expected. */
async function failure(pull: Promise<string>): Promise<string> {
  return await pull.then(
    () => assert.fail('it was pulled, from where?'),
    (error: Error) => error.message,
  )
}

/** Asserts that something takes that many seconds, with as much more as a busy machine needs. */
async function takes(t: TestContext, seconds: number, action: () => Promise<string>): Promise<void> {
  const startedAt = performance.now()
  const told = await action()
  const took = (performance.now() - startedAt) / 1000
  t.diagnostic(`${took.toFixed(1)} s`)
  assert.ok(took >= seconds - 0.5 && took < seconds + 3, `${took} s: ${told}`)
}
