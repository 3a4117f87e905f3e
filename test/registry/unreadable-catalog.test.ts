import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Repositories } from '../../src/registry/repositories.ts'
import { StorageError } from '../../src/storage/error.ts'
import { blobOf } from '../storage/catalog-fixtures.ts'

/** Where the catalog cannot be read. */
const isMeant = () => Promise.reject(new StorageError('BROKEN', 'the disk does not give the catalog'))
const local = { isMeant, isPushable: () => true } as never
const upstreams = [{ name: 'docker.io' }, { name: 'ghcr.io' }] as never
const repositories = new Repositories({} as never, local, {} as never, {} as never, upstreams)
const asked = { isPushing: false, mayPush: false, digest: undefined }

for (const name of ['app', 'library/app', 'team/app']) {
  test(`the catalog cannot be read: no upstream hears of ${name}, which may have been pushed here`, async () => {
    await assert.rejects(repositories.find({ ...asked, name }), { code: 'BROKEN' })
    await assert.rejects(repositories.keyOf(name, blobOf('x')), { code: 'BROKEN' })
  })
}

test('the catalog cannot be read: a name that says of which upstream it is is asked of that one', async () => {
  for (const one of [
    { name: 'ghcr.io/team/app' },
    { name: 'team/app', namespace: 'ghcr.io' },
    { name: 'team/app', prefix: 'ghcr.io' },
    { name: 'team/app', host: 'ghcr.io.mirror.lan' },
  ]) {
    const { key } = await repositories.find({ ...asked, ...one })
    assert.equal(key, 'ghcr.io:team/app')
  }
})
