// Tools that work on registries without an engine. They name the mirror in the reference; regctl can be told of it as
// well. What refers to an image (signatures, attestations, SBOMs) has to be seen through the mirror as at its upstream.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { run } from '../support/child-process.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { meets, type ProgramName } from '../support/programs.ts'
import { fileOfPage } from './support/clients-page.ts'
import { startLarder } from './support/larder-process.ts'
import { startNoInternet } from './support/no-internet.ts'
import { ownRoot } from './support/own-root.ts'
import { registryPrograms, startRegistry } from './support/registry-process.ts'
import { helloIndex, signatureOf } from './support/sample-images.ts'
import { scratchFolder } from './support/scratch-folder.ts'

const required = ['crane', 'oras', 'regctl', 'busybox', ...registryPrograms] as const

test('crane, regctl and oras read through the mirror', { timeout: 120_000 }, async (t) => {
  if (!meets(t, { programs: required })) return
  await using hub = await startDockerHub({ referrers: true })
  const index = helloIndex()
  hub.addImage('team/app', 'v1', index)
  hub.addImage('team/app', 'v2', index)
  const signature = signatureOf(index.manifest)
  hub.addImage('team/app', undefined, signature)
  await using larder = await startLarder({ upstreams: [{ name: 'docker.io', url: hub.url }] })
  await using internet = await startNoInternet()
  await using scratch = await scratchFolder()
  const environment = { HOME: scratch.path, ...internet.environment }
  const tool = (program: ProgramName, ...parameters: string[]) =>
    run(program, parameters, { environment, workingDirectory: scratch.path })
  const name = `${larder.host}/team/app`

  const readAll = async () => {
    assert.equal((await tool('crane', 'digest', '--insecure', `${name}:v1`)).trim(), index.manifest.digest)
    const layout = join(scratch.path, 'layout')
    await tool('crane', 'pull', '--insecure', '--format', 'oci', `${name}:v1`, layout)
    assert.match(await readFile(join(layout, 'index.json'), 'utf8'), new RegExp(index.manifest.digest))
    for (const { layers } of index.images) {
      for (const { digest } of layers) {
        assert.equal(digestOf(await readFile(join(layout, 'blobs', digest.replace(':', '/')))), digest)
      }
    }
  }

  await t.test('an image with all platforms, and the list of tags', async () => {
    await readAll()
    for (const list of [
      ['crane', 'ls', '--insecure', name],
      ['regctl', '--host', `reg=${larder.host},tls=disabled`, 'tag', 'ls', name],
      ['oras', 'repo', 'tags', '--plain-http', name],
    ] as const) {
      const [program, ...parameters] = list
      assert.equal((await tool(program, ...parameters)).trim(), 'v1\nv2', program)
    }
    const copied = join(scratch.path, 'oras')
    await tool(
      'oras',
      'copy',
      '--recursive',
      '--from-plain-http',
      '--to-oci-layout',
      `${name}:v1`,
      `${copied}:v1`,
    )
    const [layer] = signature.layers
    assert.ok(layer)
    assert.equal(
      digestOf(await readFile(join(copied, 'blobs', layer.digest.replace(':', '/')))),
      layer.digest,
    )
  })

  await t.test('what refers to an image is shown, also while the upstream is gone', async () => {
    const see = async () => {
      const discovered = await tool('oras', 'discover', '--plain-http', '--format', 'json', `${name}:v1`)
      assert.match(discovered, new RegExp(signature.manifest.digest))
      const listed = await tool(
        'regctl',
        '--host',
        `reg=${larder.host},tls=disabled`,
        'artifact',
        'list',
        `${name}:v1`,
      )
      assert.match(listed, new RegExp(signature.manifest.digest))
    }
    await see()
    await hub.stop()
    await see()
    await readAll()
  })

  assert.deepEqual(internet.attempts, [])
})

test('regctl is told of the mirror in its configuration', { timeout: 60_000 }, async (t) => {
  if (!meets(t, { programs: [...required, 'mount', 'sh', 'unshare'], root: true })) return
  await using registry = await startRegistry({ auth: 'token' })
  const index = helloIndex()
  await registry.push('library/hello-index', 'latest', index)
  await using larder = await startLarder({ upstreams: [{ name: 'docker.io', url: registry.url }] })
  await using internet = await startNoInternet()
  await using root = await ownRoot({ files: fileOfPage('/root/.regctl/config.json', larder.host) })
  const environment = { HOME: '/root', ...internet.environment }
  const printed = await run('regctl', ['image', 'digest', 'hello-index'], { environment, by: root.by })
  assert.equal(printed.trim(), index.manifest.digest)
  assert.deepEqual(internet.attempts, [])
})
