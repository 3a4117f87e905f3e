/**
 * What only the operator's account may read is served to nobody, and what is public stays so, whatever else the
 * upstream refuses.
 *
 * Neighbours that were thought of: lists of tags refused while manifests are public; HEAD that gets 400, 401, 403, 404,
 * 405, 500, of manifests, of blobs, with lists that are refused as well;
 * an anonymous token service that refuses, or is limited; 404 in place of 401; a tag that exists for the account only,
 * also where the tag is public with other content; children of an index; many layers at once.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { buildIndex } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { assertNothingOf, image, next, pullAll, secret, start } from './private-fixture.ts'

test("what only the operator's account may read is served to nobody", async () => {
  await using s = await start()
  const [layer] = secret.layers
  assert.ok(layer)
  const paths = [
    'manifests/latest',
    `manifests/${secret.manifest.digest}`,
    `blobs/${layer.digest}`,
    'tags/list',
  ]
  for (const path of paths) {
    const { status, text } = await s.get(`acme/secret/${path}`)
    assert.equal(status, 404, path)
    assert.match(text, /acme\/secret is private/)
  }
  assertNothingOf(s.hub, secret)
  assert.equal(s.hub.count({ listener: 'registry', caller: 'account' }), 0)
  assert.ok(!s.mirror.log().includes('canary-password'))
})

test('a public image of four layers: one question of anyone for the tag, manifests with the account, and none again within the period', async () => {
  await using s = await start({ 'cache.revalidate': '5m' })
  await pullAll(s)
  await pullAll(s)
  const asked = s.hub
    .find({ listener: 'registry' })
    .filter(({ status }) => status !== 401)
    .map(({ caller, method, url }) => `${caller} ${method} ${url.replace(/[^/]*$/, '')}`)
  const blob = 'anyone GET /v2/library/app/blobs/'
  assert.deepEqual(asked.sort(), [
    'account GET /v2/library/app/manifests/',
    ...Array.from({ length: 5 }, () => blob),
    'anyone HEAD /v2/library/app/manifests/',
  ])
})

test('an index: its children need no question of their own', async () => {
  await using s = await start({ 'cache.revalidate': '5m' })
  const index = buildIndex([image, next])
  s.hub.addImage('library/multi', 'latest', index)
  await s.get('library/multi/manifests/latest')
  await s.get(`library/multi/manifests/${image.manifest.digest}`)
  await s.get(`library/multi/manifests/${next.manifest.digest}`)
  assert.equal(s.hub.count({ method: 'HEAD', path: /manifests/, status: 200 }), 1)
  assert.equal(s.hub.count({ caller: 'account', method: 'GET', path: /manifests/, status: 200 }), 3)
})

test('layers that are stored cost no question, also after the period', async () => {
  await using s = await start()
  await pullAll(s)
  s.hub.reset()
  const pulls = image.layers.map(({ digest }) => s.get(`library/app/blobs/${digest}`))
  assert.deepEqual(
    (await Promise.all(pulls)).map(({ status }) => status),
    [200, 200, 200, 200],
  )
  assert.equal(s.hub.count(), 0)
})

test('lists of tags that are refused while manifests and blobs are public: everything is pulled', async () => {
  for (const status of [401, 403, 404]) {
    await using s = await start()
    s.hub.fault({ path: /tags\/list/, caller: 'anyone' }, { status })
    await pullAll(s)
    assert.equal(s.hub.count({ caller: 'account', path: /manifests/ }) > 0, true, 'with the account')
    assert.equal((await s.get('library/app/tags/list')).status, 404)
    // The list alone decides nothing.
    await pullAll(s)
  }
})

for (const status of [401, 403, 404, 405, 500]) {
  test(`HEAD gets ${status}, lists are refused: what everybody may read is pulled, and pulled again`, async () => {
    await using s = await start()
    s.hub.fault({ method: 'HEAD', path: /manifests/, caller: 'anyone' }, { status })
    if (status !== 401 && status !== 404) {
      s.hub.fault({ listener: 'registry', method: 'HEAD', path: /blobs/, caller: 'anyone' }, { status })
    }
    s.hub.fault({ path: /tags\/list/, caller: 'anyone' }, { status: 404 })
    for (let round = 0; round < 3; round += 1) await pullAll(s)
    assert.equal((await s.get('acme/secret/manifests/latest')).status, 404)
    assert.equal((await s.get(`acme/secret/manifests/${secret.manifest.digest}`)).status, 404)
    assertNothingOf(s.hub, secret)
    s.hub.setPrivate('library/app', ['ann'])
    s.hub.expireTokens()
    assert.equal((await s.heard('library/app/manifests/latest')).status, 404)
    assert.equal((await s.get(`library/app/manifests/${image.manifest.digest}`)).status, 404)
    assert.equal((await s.get(`library/app/blobs/${image.config.digest}`)).status, 404)
  })
}

for (const status of [400, 405, 500, 501]) {
  test(`HEAD of manifests that gets ${status}: what everybody may read is pulled, and nothing else`, async () => {
    await using s = await start()
    s.hub.fault({ method: 'HEAD', path: /manifests/ }, { status })
    await pullAll(s)
    assert.equal((await s.get('acme/secret/manifests/latest')).status, 404)
    assertNothingOf(s.hub, secret)
  })
}

test('anyone is answered 404 where the account gets 200: private', async () => {
  await using s = await start()
  s.hub.fault({ listener: 'registry', path: /acme\/secret/, caller: 'anyone' }, { status: 404 })
  for (const path of [
    'manifests/latest',
    `manifests/${secret.manifest.digest}`,
    `blobs/${secret.config.digest}`,
  ]) {
    assert.equal((await s.get(`acme/secret/${path}`)).status, 404)
  }
  assertNothingOf(s.hub, secret)
})

test('a token service that refuses anyone: nothing is public', async () => {
  for (const status of [400, 401, 403]) {
    await using s = await start()
    s.hub.fault({ listener: 'token', caller: 'anyone' }, { status })
    assert.equal((await s.get('library/app/manifests/latest')).status, 404)
    assertNothingOf(s.hub, image)
  }
})

test('a tag that exists for the account only is served to nobody, in a repository that is public', async () => {
  await using s = await start({ 'cache.revalidate': '5m' })
  s.hub.addImage('library/app', 'beta', secret)
  s.hub.fault({ path: /manifests\/beta/, caller: 'anyone' }, { status: 404 })
  s.hub.fault({ digest: secret.manifest.digest, caller: 'anyone' }, { status: 404 })
  await pullAll(s)
  assert.equal((await s.get('library/app/manifests/beta')).status, 404)
  assert.equal((await s.get(`library/app/manifests/${secret.manifest.digest}`)).status, 404)
  assert.equal(s.hub.bytesSent(secret.manifest.digest), 0)
})

test("anyone's quota is used up: the account's is used, and the list of tags is the witness", async () => {
  await using s = await start()
  s.hub.fault({ method: 'HEAD', path: /manifests/, caller: 'anyone' }, { status: 429, retryAfter: 60 })
  await pullAll(s)
  assert.equal((await s.get('acme/secret/manifests/latest')).status, 503)
  assertNothingOf(s.hub, secret)
})

test('a wrong password: pulls go on, the metric says so, and what is private stays so', async () => {
  await using s = await start()
  const account = { username: 'ann', password: 'not-hers' }
  const config = { upstreams: [{ name: 'docker.io', url: s.hub.url, ...account }] }
  await using mirror = await startMirror({ config })
  await pullAll({ get: (path, method = 'GET') => pull(`${mirror.url}/v2/${path}`, { method }) })
  assert.equal(await mirror.metric('larder_upstream_credentials_refused'), 1)
  assert.equal(await s.mirror.metric('larder_upstream_credentials_refused'), 0)
  const { status, text } = await pull(`${mirror.url}/v2/acme/secret/manifests/latest`)
  assert.equal(status, 404)
  assert.match(text, /refuses the configured user name and password/)
})

for (const told of ['its own', 'none', 'what was asked for'] as const) {
  test(`the account gets other bytes than anyone was told of, under ${told} as digest: nobody gets them`, async () => {
    await using s = await start()
    const header = {
      'its own': secret.manifest.digest,
      none: '',
      'what was asked for': image.manifest.digest,
    }
    s.hub.fault(
      { caller: 'account', method: 'GET', path: /library\/app\/manifests/ },
      {
        status: 200,
        body: Buffer.from(secret.manifest.bytes).toString(),
        headers: { 'content-type': secret.manifest.mediaType, 'docker-content-digest': header[told] },
      },
    )
    const answers = [await s.get('library/app/manifests/latest'), await s.get('library/app/manifests/latest')]
    assert.deepEqual(
      answers.map(({ status }) => status),
      [502, 502],
    )
    assert.equal((await s.get(`library/app/manifests/${secret.manifest.digest}`)).status, 404)
  })
}
