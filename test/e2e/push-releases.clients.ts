// Newer releases of Docker, on both of their stores: what they push, and how they log in. With the containerd store
// containerd's pusher does it, which asks nothing of `/v2/` and learns of the login from the refusal.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { startDockerHub } from '../support/docker-hub.ts'
import { meets } from '../support/programs.ts'
import { type DockerRelease, meetsDocker } from './support/docker-daemon.ts'
import { startLarder } from './support/larder-process.ts'
import { logsIn } from './support/logged-in.ts'
import { htpasswdFile } from './support/logins.ts'
import { livesAndGoes } from './support/pushed-life.ts'
import { dockerPusher } from './support/pushers.ts'
import { scratchFolder } from './support/scratch-folder.ts'

const alice = { user: 'alice', password: 'correct horse battery staple' }
const releases = [
  ['26.1', false],
  ['28.5', false],
  ['28.5', true],
  ['29', false],
  ['29', true],
] as const satisfies readonly (readonly [DockerRelease, boolean])[]

for (const [release, containerdStore] of releases) {
  const kind = dockerPusher(release, containerdStore)

  test(`${kind.name} pushes, pushes again, adds a tag, pulls and deletes`, {
    timeout: 120_000,
  }, async (t) => {
    if (!meetsDocker(t, release) || !meets(t, { programs: ['busybox', 'skopeo'] })) return
    await using hub = await startDockerHub()
    await using larder = await startLarder({ upstreams: [{ name: 'docker.io', url: hub.url }] })
    await livesAndGoes(t, kind, larder)
  })

  test(`${kind.name}: right, wrong and no login`, { timeout: 120_000 }, async (t) => {
    if (!meetsDocker(t, release) || !meets(t, { programs: ['busybox', 'skopeo', 'htpasswd'] })) return
    await using hub = await startDockerHub()
    await using scratch = await scratchFolder()
    const users = join(scratch.path, 'users')
    await writeFile(users, await htpasswdFile([alice]))
    await using larder = await startLarder({
      upstreams: [{ name: 'docker.io', url: hub.url }],
      environment: { MIRROR_AUTH_HTPASSWD: users },
    })
    await logsIn(t, kind, larder, alice)
  })
}
