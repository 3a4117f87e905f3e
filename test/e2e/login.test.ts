// Pulls without a login and pushes with one, on the same port: what each program makes of it.
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { startDockerHub } from '../support/docker-hub.ts'
import { meets } from '../support/programs.ts'
import { fileOfPage } from './support/clients-page.ts'
import { dockerPrograms, startDockerDaemon } from './support/docker-daemon.ts'
import { startLarder } from './support/larder-process.ts'
import { logsIn } from './support/logged-in.ts'
import { filesThatHold, htpasswdFile, tracesOf } from './support/logins.ts'
import { pushers } from './support/pushers.ts'
import { helloImage } from './support/sample-images.ts'
import { scratchFolder } from './support/scratch-folder.ts'

const alice = { user: 'alice', password: 'correct horse battery staple' }

/** A Larder of which alice is a user. */
async function startWithUsers(folder: string, hub: string) {
  const users = join(folder, 'users')
  await writeFile(users, await htpasswdFile([alice]))
  return startLarder({
    directory: join(folder, 'data'),
    upstreams: [{ name: 'docker.io', url: hub }],
    environment: { MIRROR_AUTH_HTPASSWD: users },
  })
}

for (const kind of pushers) {
  test(`${kind.name}: right, wrong and no login`, { timeout: 120_000 }, async (t) => {
    const programs = [...kind.programs, 'busybox', 'htpasswd'] as const
    if (!meets(t, { programs, root: kind.needsRoot ?? false })) return
    await using hub = await startDockerHub()
    await using scratch = await scratchFolder()
    await using larder = await startWithUsers(scratch.path, hub.url)
    await logsIn(t, kind, larder, alice)
    assert.match(larder.log(), /"user":"alice"[^\n]*"msg":"pushed"/)
    const secrets = tracesOf(alice)
    assert.deepEqual(await filesThatHold(join(scratch.path, 'data'), secrets), [])
    assert.deepEqual(
      secrets.filter((secret) => larder.log().includes(secret)),
      [],
    )
  })
}

test('somebody logged in at Docker Hub pulls through the mirror, and the login is nowhere', {
  timeout: 120_000,
}, async (t) => {
  if (!meets(t, { programs: [...dockerPrograms, 'busybox', 'htpasswd'], root: true })) return
  await using hub = await startDockerHub()
  const image = helloImage()
  hub.addImage('library/hello', 'latest', image)
  await using scratch = await scratchFolder()
  await using larder = await startWithUsers(scratch.path, hub.url)
  const hubLogin = { user: 'somebody', password: 'a-password-of-docker-hub' }
  await using daemon = await startDockerDaemon({
    files: fileOfPage('/etc/docker/daemon.json', larder.host),
    hubLogin,
  })
  assert.match(await daemon.docker('pull', 'hello'), new RegExp(`^Digest: ${image.manifest.digest}$`, 'm'))
  assert.deepEqual(daemon.attempts, [])
  const secrets = [hubLogin.user, ...tracesOf(hubLogin)]
  assert.deepEqual(await filesThatHold(join(scratch.path, 'data'), secrets), [])
  assert.deepEqual(
    secrets.filter((secret) => larder.log().includes(secret)),
    [],
  )
  assert.deepEqual(
    hub.requests.filter(({ headers }) => secrets.some((secret) => JSON.stringify(headers).includes(secret))),
    [],
  )
})
