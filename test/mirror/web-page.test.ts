/**
 * A network that wants a login answers everything with its page. Neighbours: a tag and a digest, a tag that is kept,
 * a page of another kind, a manifest whose server calls it a page, a page that has no type.
 */
import assert from 'node:assert/strict'
import type { RequestListener } from 'node:http'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { buildImage } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { listen } from '../upstream/fixtures.ts'

const image = buildImage()
const { bytes, digest, mediaType } = image.manifest
const sentence =
  /it answered with a web page: the network may want a login first, or upstreams\[\]\.url is no registry(?: \(library\/app[:@][^)]+\))?"/

function page(type: string): RequestListener {
  return (_, response) => response.writeHead(200, { 'content-type': type }).end('<html>Welcome</html>')
}

for (const type of ['text/html', 'text/html; charset=utf-8', 'application/xhtml+xml']) {
  for (const reference of ['bookworm-slim', digest]) {
    test(`${type} in place of the manifest ${reference.slice(0, 13)} is called a web page`, async (t) => {
      const server = await listen(t, page(type))
      await using mirror = await startMirror({ upstream: server.url })
      const answer = await pull(`${mirror.url}/v2/library/app/manifests/${reference}`)
      assert.equal(answer.status, 502)
      assert.match(answer.text, sentence)
    })
  }
}

test('what is malformed and no page is called so', async (t) => {
  const server = await listen(t, page('application/json'))
  await using mirror = await startMirror({ upstream: server.url })
  const answer = await pull(`${mirror.url}/v2/library/app/manifests/latest`)
  assert.match(answer.text, /the manifest it sent for latest is malformed/)
})

test('a manifest is one, also where its server calls it a page', async (t) => {
  const server = await listen(t, (_, response) => {
    response.writeHead(200, { 'content-type': 'text/html' }).end(bytes)
  })
  await using mirror = await startMirror({ upstream: server.url })
  assert.equal((await pull(`${mirror.url}/v2/library/app/manifests/latest`)).digest, digest)
})

test('a tag that is kept is served, and the warning is true: the upstream did answer', async (t) => {
  let current: RequestListener = (_, response) =>
    response.writeHead(200, { 'content-type': mediaType, 'docker-content-digest': digest }).end(bytes)
  const server = await listen(t, (request, response) => current(request, response))
  await using mirror = await startMirror({ upstream: server.url, config: { 'cache.revalidate': 0 } })
  const url = `${mirror.url}/v2/library/app/manifests/latest`
  await pull(url)
  current = page('text/html')
  const stale = await pull(url)
  assert.deepEqual([stale.status, stale.headers['x-larder-cache'], stale.digest], [200, 'stale', digest])
  assert.match(
    String(stale.headers.warning),
    /^299 - "the upstream could not confirm it; this tag was last checked at \d{4}-\S+Z"$/,
  )
})
