// Newer releases of Docker, on both of their stores, and of containerd: what they push, and how they log in. With the containerd store
// containerd's pusher does it, which asks nothing of `/v2/` and learns of the login from the refusal.
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { startDockerHub } from '../support/docker-hub.ts'
import { meets } from '../support/programs.ts'
import { type ContainerdRelease, meetsContainerd } from './support/containerd.ts'
import { type DockerRelease, meetsDocker } from './support/docker-daemon.ts'
import { pullsWithHubLogin } from './support/hub-login.ts'
import { startLarder } from './support/larder-process.ts'
import { logsIn } from './support/logged-in.ts'
import { alice, startWithUsers } from './support/logins.ts'
import { livesAndGoes } from './support/pushed-life.ts'
import { containerdPusher, dockerPusher } from './support/pushers.ts'
import { scratchFolder } from './support/scratch-folder.ts'

const docker = [
  ['26.1', false],
  ['28.5', false],
  ['28.5', true],
  ['29', false],
  ['29', true],
] as const satisfies readonly (readonly [DockerRelease, boolean])[]
const containerd = ['1.7', '2.1', '2.4'] as const satisfies readonly ContainerdRelease[]

const cases = [
  ...docker.map(([release, store]) => ({
    kind: dockerPusher(release, store),
    isThere: (t: TestContext) => meetsDocker(t, release),
  })),
  ...containerd.map((release) => ({
    kind: containerdPusher(release),
    isThere: (t: TestContext) => meetsContainerd(t, release),
  })),
]

for (const { kind, isThere } of cases) {
  test(`${kind.name} pushes, pushes again, adds a tag, pulls and deletes`, {
    timeout: 120_000,
  }, async (t) => {
    if (!isThere(t) || !meets(t, { programs: [...kind.programs, 'busybox'] })) return
    await using hub = await startDockerHub()
    await using larder = await startLarder({ upstreams: [{ name: 'docker.io', url: hub.url }] })
    await livesAndGoes(t, kind, larder)
  })

  test(`${kind.name}: right, wrong and no login`, { timeout: 120_000 }, async (t) => {
    if (!isThere(t) || !meets(t, { programs: [...kind.programs, 'busybox', 'htpasswd'] })) return
    await using hub = await startDockerHub()
    await using scratch = await scratchFolder()
    await using larder = await startWithUsers(scratch.path, hub.url)
    await logsIn(t, kind, larder, alice)
  })
}

for (const [release, containerdStore] of docker) {
  const store = containerdStore ? 'containerd' : 'classic'
  test(`Docker ${release}, ${store} store, logged in at Docker Hub, pulls through a mirror with users`, {
    timeout: 120_000,
  }, async (t) => {
    if (!meetsDocker(t, release) || !meets(t, { programs: ['busybox', 'htpasswd'] })) return
    await using hub = await startDockerHub()
    for (const hubLogin of [
      { user: 'somebody', password: 'a-password-of-docker-hub' },
      { user: 'somebody', password: '', identityToken: 'a-token-of-docker-hub' },
    ]) {
      await using scratch = await scratchFolder()
      await using larder = await startWithUsers(scratch.path, hub.url)
      const mirrors = [`http://${larder.host}`]
      const settings = {
        'registry-mirrors': mirrors,
        features: { 'containerd-snapshotter': containerdStore },
      }
      const files = { '/etc/docker/daemon.json': JSON.stringify(settings) }
      await pullsWithHubLogin(larder, hub, { hubLogin, data: join(scratch.path, 'data'), release, files })
    }
  })
}
