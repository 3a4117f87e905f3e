// Whether bytes of another repository are here is nobody's business: what a repository is not given is answered to the
// letter as what this mirror never heard of. Neighbours that were thought of: blobs and manifests, and either asked for
// as the other; HEAD; a range, an entity tag; refused in every way, limited, out of order, gone; the first time, and
// when the refusal is remembered; referrers.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Digest } from '../../src/oci/digest.ts'
import { pull } from '../support/client.ts'
import type { DockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { pullAll, secret, start } from './private-fixture.ts'

const unheard = buildImage({ layers: [6000], seed: 'nobody has this' })
const words: Record<string, (hub: DockerHub) => unknown> = {
  'it has something else': () => {},
  'it is private': (hub) => {
    hub.setPrivate('library/app', ['ann'])
    hub.expireTokens()
  },
  'it is forbidden': (hub) => hub.fault({ listener: 'registry' }, { status: 403 }),
  'it is limited': (hub) => hub.fault({ listener: 'registry' }, { status: 429 }),
  'it is out of order': (hub) => hub.fault({ listener: 'registry' }, { status: 503 }),
}

for (const [word, say] of Object.entries(words)) {
  for (const negative of [0, '1m']) {
    test(`${word}: bytes that are here by another repository are answered as what nobody heard of (cache.negative ${negative})`, async () => {
      await using s = await start({ 'cache.negative': negative, 'cache.revalidate': '5m' })
      s.hub.setPublic('acme/secret')
      await pullAll(s, 'acme/secret', secret)
      await pullAll(s, 'library/app')
      s.hub.setPrivate('acme/secret', ['ann'])
      await say(s.hub)
      const [kept, never] = [digestsOf(secret), digestsOf(unheard)]
      // An outage is waited for each time.
      const isOutage = /limited|out of order/.test(word)
      const kinds = isOutage ? ['blobs'] : ['blobs', 'manifests', 'referrers']
      for (const [nth, digest] of (isOutage ? kept.slice(0, 1) : kept).entries()) {
        const other = never[nth] ?? digest
        for (const kind of kinds) {
          for (const method of ['GET', 'HEAD']) {
            const headers = [{}, { range: 'bytes=0-9' }, (one: Digest) => ({ 'if-none-match': `"${one}"` })]
            for (const given of headers) {
              const ask = async (one: Digest) => {
                const own = typeof given === 'function' ? given(one) : given
                const url = `${s.mirror.url}/v2/library/app/${kind}/${one}`
                const answer = await pull(url, { method, headers: own })
                // An age, and a time to come again, differ where a second passes between two questions.
                const { date: _, age, 'retry-after': again, ...told } = answer.headers
                const has = { age: age !== undefined, again: again !== undefined }
                const text = answer.text.replace(/ for \d+ s, at \d\d:\d\d UTC/, ' for a while')
                const whole = { status: answer.status, told, has, text }
                return JSON.stringify(whole).replaceAll(one, '<digest>')
              }
              assert.equal(
                await ask(digest),
                await ask(other),
                `${method} ${kind} ${nth} ${JSON.stringify(given)}`,
              )
            }
          }
        }
      }
    })
  }
}

function digestsOf({ manifest, config, layers }: typeof secret): Digest[] {
  return [...layers, config, manifest].map(({ digest }) => digest)
}
