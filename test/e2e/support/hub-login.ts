import assert from 'node:assert/strict'
import type { DockerHub } from '../../support/docker-hub.ts'
import { fileOfPage } from './clients-page.ts'
import { type DockerRelease, type HubLogin, startDockerDaemon } from './docker-daemon.ts'
import type { LarderProcess } from './larder-process.ts'
import { filesThatHold, tracesOf } from './logins.ts'
import { helloImage } from './sample-images.ts'

/**
 * Pulls through a mirror that has users, with the Docker Hub login that Docker sends to mirrors: it pulls, and the login
 * is neither in the log, nor below the mirror's folder `data`, nor in what the upstream was sent.
 */
export async function pullsWithHubLogin(
  larder: LarderProcess,
  hub: DockerHub,
  {
    hubLogin,
    data,
    release = 'machine',
    files = {},
  }: {
    readonly hubLogin: HubLogin
    readonly data: string
    readonly release?: DockerRelease
    /** Beside, or instead of, the file that the page of clients tells to write. */
    readonly files?: Readonly<Record<string, string>>
  },
): Promise<void> {
  const image = helloImage()
  hub.addImage('library/hello', 'latest', image)
  const page = fileOfPage('/etc/docker/daemon.json', larder.host)
  await using daemon = await startDockerDaemon({ release, files: { ...page, ...files }, hubLogin })
  assert.match(await daemon.docker('pull', 'hello'), new RegExp(`^Digest: ${image.manifest.digest}$`, 'm'))
  assert.deepEqual(daemon.attempts, [])
  const secrets = tracesOf(hubLogin)
  assert.deepEqual(await filesThatHold(data, secrets), [])
  assert.deepEqual(
    secrets.filter((secret) => larder.log().includes(secret)),
    [],
  )
  const sent = hub.requests.map(({ url, headers }) => url + JSON.stringify(headers))
  assert.deepEqual(
    sent.filter((request) => secrets.some((secret) => request.includes(secret))),
    [],
  )
}
