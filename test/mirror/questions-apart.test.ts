import assert from 'node:assert/strict'
import http from 'node:http'
import { test } from 'node:test'
import { startMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'
import { listen } from '../upstream/fixtures.ts'

// Neighbours: each kind of question; an answer that trickles from its first byte on, and a token that does.

const atOnce = 16
const digestOf = (index: number) => `sha256:${String(index).padStart(64, '0')}`
const manifest = JSON.stringify({
  schemaVersion: 2,
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  config: { mediaType: 'application/x', digest: digestOf(1), size: 1 },
  layers: [],
})

const kinds: Readonly<
  Record<string, { path: (index: number) => string; method?: string; isToken?: boolean }>
> = {
  'manifests by tag': { path: (index) => `/v2/library/trickling/manifests/v${index}` },
  'manifests by digest': { path: (index) => `/v2/library/trickling/manifests/${digestOf(index)}` },
  'heads of manifests': { path: (index) => `/v2/library/trickling/manifests/v${index}`, method: 'HEAD' },
  'lists of tags': { path: (index) => `/v2/library/trickling${index}/tags/list` },
  tokens: { path: (index) => `/v2/library/trickling${index}/manifests/latest`, isToken: true },
}

for (const [what, { path, method = 'GET', isToken = false }] of Object.entries(kinds)) {
  test(`${what} that trickle, of one client in all turns: another client is answered`, async (t) => {
    let trickling = 0
    const registry = await listen(t, (request, response) => {
      const { url = '', headers } = request
      const isTrickling = url.includes('trickling')
      const isForToken = url.startsWith('/token')
      if (isToken && !isForToken && headers.authorization === undefined) {
        const challenge = `Bearer realm="${registry.url}/token",service="s"`
        return void response.writeHead(401, { 'www-authenticate': challenge }).end()
      }
      if (isTrickling && isForToken === isToken) {
        trickling += 1
        response.write(' '.repeat(50))
        const dripping = setInterval(() => response.write(' '.repeat(50)), 50)
        return void response.once('close', () => clearInterval(dripping))
      }
      if (isForToken) return void response.end('{"token":"t"}')
      response.setHeader('content-type', 'application/vnd.oci.image.manifest.v1+json').end(manifest)
    })
    // However slow this machine is, nobody is given up before all have their turn.
    const mirror = await startMirror({
      upstream: registry.url,
      config: { 'limits.patience': '5m' },
      turnMs: 500,
    })
    t.after(() => mirror[Symbol.asyncDispose]())
    const leaving = new AbortController()
    const ask = (of: string, localAddress: string, asked = method) =>
      new Promise<number | undefined>((resolve) => {
        http
          .request(
            mirror.url + of,
            { method: asked, localAddress, agent: false, signal: leaving.signal },
            (answer) => {
              answer.resume()
              resolve(answer.statusCode)
            },
          )
          .on('error', () => resolve(undefined))
          .end()
      })
    const bad = Array.from({ length: atOnce }, (_, index) => ask(path(index), '127.0.0.1'))
    await until(() => trickling === atOnce, { timeoutMs: 60_000 })
    assert.equal(await ask('/v2/library/good/manifests/latest', '127.0.0.77', 'GET'), 200)
    assert.equal(await Promise.race(bad), 503, 'one has given way')
    leaving.abort()
  })
}
