/** Who may have what is not asked for by the digest of its bytes: tags, what an index names, lists of referrers. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Tag } from '../../src/oci/reference.ts'
import { buildImage } from '../support/images.ts'
import { app, Rights, say, things } from './rights-fixture.ts'

const latest = 'latest' as Tag

for (const [word, tagged, byDigest] of [
  ['429', 'stale', 'given'],
  ['503', 'stale', 'given'],
  ['gone', 'stale', 'given'],
  ['no', 'absent', 'doubt'],
  ['not found', 'absent', 'given'],
] as const) {
  test(`a tag whose upstream says ${word} to anyone: ${tagged}; what it pointed at: ${byDigest}`, async (t) => {
    const rights = await Rights.start(t)
    const [, manifest] = things
    assert.ok(manifest)
    const { hub } = rights
    hub.addManifest('acme/app', manifest.content, 'latest')
    const repository = rights.repository('acme/app')
    assert.equal((await repository.manifest(latest, { isHead: false })).status, 'miss')
    assert.equal((await rights.heard(repository, latest)).status, 'revalidated')
    hub.removeTag('acme/app', 'latest')
    await say(rights, word, manifest)
    if (tagged === 'stale')
      assert.equal((await repository.manifest(latest, { isHead: false })).status, 'stale')
    else await assert.rejects(rights.heard(repository, latest), { name: 'UpstreamError' })
    assert.equal(await rights.ask(repository, manifest, 'GET'), byDigest)
    // The tag and its history stay: it may be there again.
    assert.equal((await rights.catalog.tag(app, latest))?.digest, manifest.content.digest)
  })
}

test('after a refusal an outage brings no tag back', async (t) => {
  const rights = await Rights.start(t)
  const [, manifest] = things
  assert.ok(manifest)
  rights.hub.addManifest('acme/app', manifest.content, 'latest')
  await rights.repository('acme/app').manifest(latest, { isHead: false })
  await rights.catalog.refused(app, Date.now() - 60_000)
  await rights.hub.stop()
  const again = rights.restarted(t)
  await assert.rejects(again.repository('acme/app').manifest(latest, { isHead: false }))
  assert.equal(await again.ask(again.repository('acme/app'), manifest, 'GET'), 'doubt')
})

test('a child that an index names, and another repository gives to anyone: no pull is spent on it', async (t) => {
  const rights = await Rights.start(t)
  const [, child] = things
  assert.ok(child)
  rights.hub.addManifest('library/other', child.content)
  assert.equal(await rights.ask(rights.repository('library/other'), child, 'GET'), 'given')
  await rights.name(app, child.content.digest, 'manifest')
  rights.hub.reset()
  assert.equal(await rights.ask(rights.repository('acme/app'), child, 'GET'), 'given')
  assert.equal(rights.asked, 0)
})

test('the subject of a manifest is not what belongs to it: it is asked for', async (t) => {
  const rights = await Rights.start(t)
  const [, subject] = things
  assert.ok(subject)
  rights.hub.addManifest('library/other', subject.content)
  rights.hub.addBlob('acme/app', Buffer.from('something else'))
  await rights.ask(rights.repository('library/other'), subject, 'GET')
  await rights.name(app, subject.content.digest, 'subject')
  assert.equal(await rights.ask(rights.repository('acme/app'), subject, 'GET'), 'absent')
})

test('what refers to a manifest: what its upstream tells anyone; in an outage what it told, with a doubt; after a refusal nothing', async (t) => {
  const image = buildImage({ seed: 'subject' })
  const signature = buildImage({ seed: 'signature', subject: image.manifest })
  const rights = await Rights.start(t)
  const { hub } = rights
  hub.addImage('acme/app', 'latest', image)
  hub.addImage('acme/app', undefined, signature)
  const list = async (from: Rights) => {
    const { referrers, doubt } = await from
      .repository('acme/app')
      .referrers(image.manifest.digest, { artifactTypes: [], from: undefined }, {})
    return { digests: referrers.map(({ digest }) => digest), isSure: doubt === undefined }
  }
  await rights.repository('acme/app').manifest(latest, { isHead: false })
  const known = [signature.manifest.digest]
  assert.deepEqual(await list(rights), { digests: known, isSure: true })
  await hub.stop()
  assert.deepEqual(await list(rights), { digests: known, isSure: false })
  assert.deepEqual(await list(rights.restarted(t)), { digests: known, isSure: false })
  await rights.catalog.refused(app, Date.now())
  assert.deepEqual(await list(rights.restarted(t)), { digests: [], isSure: false })
})
