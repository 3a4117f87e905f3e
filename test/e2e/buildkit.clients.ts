import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { ChildServer, finish, run } from '../support/child-process.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { meets } from '../support/programs.ts'
import { fileOfPage } from './support/clients-page.ts'
import { startLarder } from './support/larder-process.ts'
import { startNoInternet } from './support/no-internet.ts'
import { ownRoot } from './support/own-root.ts'
import { attestedIndex } from './support/sample-images.ts'
import { scratchFolder } from './support/scratch-folder.ts'

const required = {
  programs: ['buildctl', 'buildkitd', 'runc', 'mount', 'sh', 'unshare', 'busybox'],
  root: true,
} as const

test('a builder of BuildKit takes its base images from the mirror', { timeout: 120_000 }, async (t) => {
  if (!meets(t, required)) return
  await using hub = await startDockerHub({ referrers: true })
  hub.addImage('library/attested', 'latest', attestedIndex())
  await using larder = await startLarder({ upstreams: [{ name: 'docker.io', url: hub.url }] })
  await using internet = await startNoInternet()
  await using scratch = await scratchFolder()
  await using root = await ownRoot({ files: fileOfPage('/etc/buildkit/buildkitd.toml', larder.host) })
  const address = `unix://${join(scratch.path, 'buildkit.sock')}`
  const environment = { HOME: scratch.path, ...internet.environment }
  const state = ['--addr', address, '--root', join(scratch.path, 'root'), '--containerd-worker=false']
  await using server = ChildServer.start('buildkitd', state, { environment, by: root.by })
  const buildctl = ['--addr', address]
  await server.ready(
    async () => (await finish('buildctl', [...buildctl, 'debug', 'workers'], { environment })).code === 0,
    'answers',
  )
  await writeFile(join(scratch.path, 'Dockerfile'), 'FROM attested\nLABEL built=here\n')
  const build = () =>
    run(
      'buildctl',
      [
        ...buildctl,
        'build',
        '--frontend=dockerfile.v0',
        `--local=context=${scratch.path}`,
        `--local=dockerfile=${scratch.path}`,
        `--output=type=oci,dest=${join(scratch.path, 'built.tar')}`,
      ],
      { environment },
    )

  await build()
  const pulled = larder.requests().filter(({ url }) => url.includes('/blobs/'))
  assert.ok(pulled.length > 0)
  await larder.settled()
  await hub.stop()
  await run('buildctl', [...buildctl, 'prune', '--all'], { environment })
  await build()
  assert.ok(larder.requests().filter(({ url }) => url.includes('/blobs/')).length > pulled.length)
  assert.deepEqual(internet.attempts, [])
})
