// What refers to an image that exists only here: an SBOM and a signature are attached to it, are found by it, and go
// away without it.
import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { run } from '../support/child-process.ts'
import { meets, type ProgramName } from '../support/programs.ts'
import { pushImage } from '../support/push.ts'
import { startLarder } from './support/larder-process.ts'
import { startNoInternet } from './support/no-internet.ts'
import { ownImage } from './support/sample-images.ts'
import { scratchFolder } from './support/scratch-folder.ts'

const sbom = JSON.stringify({ spdxVersion: 'SPDX-2.3', name: 'app', packages: [] })

test('oras and regctl attach, find, fetch and delete what refers to an image', {
  timeout: 60_000,
}, async (t) => {
  if (!meets(t, { programs: ['oras', 'regctl', 'busybox'] })) return
  await using larder = await startLarder({ upstreams: [{ name: 'docker.io', url: 'http://127.0.0.1:9' }] })
  await using internet = await startNoInternet()
  await using scratch = await scratchFolder()
  const settings = {
    environment: { HOME: scratch.path, ...internet.environment },
    workingDirectory: scratch.path,
  }
  const tool = (program: ProgramName, ...parameters: string[]) => run(program, parameters, settings)
  const image = ownImage()
  await pushImage(`${larder.url}/v2/app`, 'v1', image)
  const name = `${larder.host}/app`
  await writeFile(join(scratch.path, 'sbom.json'), sbom)
  await tool('regctl', 'registry', 'set', larder.host, '--tls', 'disabled')
  const attached = await tool(
    'oras',
    'attach',
    '--plain-http',
    '--artifact-type',
    'application/spdx+json',
    '--format',
    'json',
    `${name}:v1`,
    'sbom.json:application/spdx+json',
  )
  const { digest } = JSON.parse(attached) as { digest: string }
  await writeFile(join(scratch.path, 'signature'), 'signed by somebody')
  await tool(
    'regctl',
    'artifact',
    'put',
    '--subject',
    `${name}:v1`,
    '--artifact-type',
    'application/vnd.example.signature',
    '--file',
    join(scratch.path, 'signature'),
  )

  await t.test('both programs find both, and one kind where they ask for it', async () => {
    const kinds = (text: string) =>
      Array.from(new Set(text.match(/application\/(?:spdx\+json|vnd\.example\.signature)/g))).toSorted()
    const both = ['application/spdx+json', 'application/vnd.example.signature']
    const discover = (...more: string[]) =>
      tool('oras', 'discover', '--plain-http', '--format', 'json', ...more, `${name}:v1`)
    assert.deepEqual(kinds(await discover()), both)
    assert.deepEqual(kinds(await discover('--artifact-type', 'application/spdx+json')), [
      'application/spdx+json',
    ])
    assert.deepEqual(kinds(await tool('regctl', 'artifact', 'list', `${name}:v1`)), both)
  })

  await t.test('what was attached is fetched by its digest, and goes along with the image', async () => {
    await tool('oras', 'pull', '--plain-http', '--output', join(scratch.path, 'fetched'), `${name}@${digest}`)
    assert.equal(await readFile(join(scratch.path, 'fetched', 'sbom.json'), 'utf8'), sbom)
    await tool(
      'oras',
      'copy',
      '--recursive',
      '--from-plain-http',
      '--to-plain-http',
      `${name}:v1`,
      `${larder.host}/local/copy:v1`,
    )
    const copied = await tool(
      'oras',
      'discover',
      '--plain-http',
      '--format',
      'json',
      `${larder.host}/local/copy:v1`,
    )
    assert.match(copied, new RegExp(digest))
  })

  await t.test('a signature that is deleted is not found any more', async () => {
    await tool('oras', 'manifest', 'delete', '--force', '--plain-http', `${name}@${digest}`)
    const found = await tool('oras', 'discover', '--plain-http', '--format', 'json', `${name}:v1`)
    assert.doesNotMatch(found, new RegExp(digest))
    assert.match(found, /vnd\.example\.signature/)
  })
  assert.deepEqual(internet.attempts, [])
})
