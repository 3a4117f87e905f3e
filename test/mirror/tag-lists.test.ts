import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'

test('a short list of tags is kept; a long one is passed through, and takes no memory', async () => {
  await using hub = await startDockerHub()
  const image = buildImage()
  for (const name of ['short', 'long']) hub.addImage(`library/${name}`, 'latest', image)
  for (let index = 0; index < 6000; index += 1) hub.tag('library/long', `v${index}`, image.manifest.digest)
  await using mirror = await startMirror({ upstream: hub.url })
  for (const [name, count, asked] of [
    ['short', 1, 1],
    ['long', 6001, 2],
  ] as const) {
    hub.reset()
    for (let round = 0; round < 2; round += 1) {
      const { text } = await pull(`${mirror.url}/v2/library/${name}/tags/list`)
      assert.equal(JSON.parse(text).tags.length, count)
    }
    assert.equal(hub.count({ listener: 'registry', path: /tags/, status: 200 }), asked)
  }
})
