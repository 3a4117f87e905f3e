/** Who may have something mounted: only what may be read, of a name and of no name, whatever else is here. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RepositoryName } from '../../src/oci/repository-name.ts'
import { Mounts } from '../../src/registry/mounts.ts'
import { localOrigin, repositoryKey } from '../../src/storage/repository-key.ts'
import { content, digest, pushBlob, start } from './local-fixture.ts'

const to = repositoryKey(localOrigin, 'to' as RepositoryName)

async function pushed(lost = false) {
  const parts = start()
  await pushBlob(parts, content)
  const { catalog, blobs } = parts
  const mounts = new Mounts({
    catalog,
    blobs: lost ? { stat: async () => undefined } : blobs,
    keyOf: async (name) => repositoryKey(localOrigin, name as RepositoryName),
    servePrivateMs: 0,
  })
  return { mounts, catalog }
}

for (const from of ['app', undefined]) {
  test(`what may not be read is not mounted, with ${from ? 'its name' : 'no name'}`, async () => {
    const { mounts, catalog } = await pushed()
    const asked: string[] = []
    const mayRead = (isAllowed: boolean) => (name: string) => {
      asked.push(name)
      return isAllowed
    }
    assert.equal(await mounts.mount(to, digest, from, { mayRead: mayRead(false) }), false)
    assert.equal(await catalog.held(to, digest), undefined)
    assert.equal(await mounts.mount(to, digest, from, { mayRead: mayRead(true) }), true)
    assert.notEqual((await catalog.held(to, digest))?.localAt, undefined)
    assert.deepEqual(asked.slice(0, 2), ['app', 'app'])
  })
}

test('what is recorded and whose bytes are lost is not mounted', async () => {
  const { mounts } = await pushed(true)
  assert.equal(await mounts.mount(to, digest, 'app', { mayRead: () => true }), false)
})
