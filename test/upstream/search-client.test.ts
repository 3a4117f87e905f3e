import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { ProxySettings } from '../../src/upstream/connections/proxy-settings.ts'
import { SearchClient } from '../../src/upstream/search-client.ts'
import { forwardProxy } from './connections/forward-proxy.ts'
import { listen, transportOptions } from './fixtures.ts'

const results = [{ name: 'alpine', description: 'small', star_count: 9, is_official: true }]
const found = [{ name: 'alpine', description: 'small', stars: 9, isOfficial: true }]

function start(t: TestContext, url: string, changes = {}): SearchClient {
  const client = new SearchClient(transportOptions(url, changes))
  t.after(() => client[Symbol.dispose]())
  return client
}

test('Docker Hub is searched where it answers searches, and nowhere else', async (t) => {
  const proxy = await forwardProxy(t, () => undefined)
  const client = start(t, 'https://registry-1.docker.io', { proxies: ProxySettings.fixed(proxy.url) })
  await assert.rejects(client.search('alpine'), { name: 'UpstreamError' })
  assert.deepEqual([...new Set(proxy.requests.map(({ target }) => target))], ['index.docker.io:443'])
})

test('a mirror before it is asked for what is of Docker Hub, below its own path', async (t) => {
  const server = await listen(t, (_, response) => response.end(JSON.stringify({ results })))
  const client = start(t, `${server.url}/mirror/`)
  assert.deepEqual(await client.search('a&b=ä "x'), found)
  const { method, url, headers } = server.requests[0] ?? assert.fail()
  assert.deepEqual([method, url], ['GET', '/mirror/v1/search?n=100&ns=docker.io&q=a%26b%3D%C3%A4+%22x'])
  assert.equal(headers.authorization, undefined)
})

test('what is no answer is told as the upstream failure that it is', async (t) => {
  for (const [status, body, code] of [
    [404, '{}', 'NOT_FOUND'],
    [401, '{}', 'UNAUTHORIZED'],
    [429, '{}', 'RATE_LIMITED'],
    [500, '{}', 'SERVER_ERROR'],
    [204, '', 'INVALID_RESPONSE'],
    [200, '<html>', 'INVALID_RESPONSE'],
    [200, ' '.repeat(2 * 1024 * 1024), 'INVALID_RESPONSE'],
  ] as const) {
    const server = await listen(t, (_, response) => response.writeHead(status).end(body))
    await assert.rejects(start(t, server.url).search('a'), { name: 'UpstreamError', code }, `${status}`)
  }
})

test('a search that nobody waits for is given up', async (t) => {
  const server = await listen(t, () => {})
  const leaving = new AbortController()
  const searching = start(t, server.url).search('a', leaving.signal)
  leaving.abort(new Error('left'))
  await assert.rejects(searching, /left/)
})
