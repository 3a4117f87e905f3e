// Pulls without a login and pushes with one, on the same port: what each program makes of it.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { startDockerHub } from '../support/docker-hub.ts'
import { meets } from '../support/programs.ts'
import { dockerPrograms } from './support/docker-daemon.ts'
import { pullsWithHubLogin } from './support/hub-login.ts'
import { logsIn } from './support/logged-in.ts'
import { alice, filesThatHold, startWithUsers, tracesOf } from './support/logins.ts'
import { pushers } from './support/pushers.ts'
import { scratchFolder } from './support/scratch-folder.ts'

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

for (const [how, hubLogin] of [
  ['by password', { user: 'somebody', password: 'a-password-of-docker-hub' }],
  ['by browser', { user: 'somebody', password: '', identityToken: 'a-token-of-docker-hub' }],
] as const) {
  test(`Docker, logged in at Docker Hub ${how}: it pulls through the mirror, and the login is nowhere`, {
    timeout: 120_000,
  }, async (t) => {
    if (!meets(t, { programs: [...dockerPrograms, 'busybox', 'htpasswd'], root: true })) return
    await using scratch = await scratchFolder()
    await using hub = await startDockerHub()
    await using larder = await startWithUsers(scratch.path, hub.url)
    await pullsWithHubLogin(larder, hub, { hubLogin, data: join(scratch.path, 'data') })
  })
}
