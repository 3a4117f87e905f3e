import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Digest } from '../../src/oci/digest.ts'
import type { Tag } from '../../src/oci/reference.ts'
import type { RepositoryName } from '../../src/oci/repository-name.ts'
import type { RegistryClient } from '../../src/upstream/registry-client.ts'
import { until } from '../support/settle.ts'
import { clientOf, listen } from './fixtures.ts'

const name = 'library/app' as RepositoryName
const digest = `sha256:${'a'.repeat(64)}` as Digest

const questions: Readonly<Record<string, (client: RegistryClient) => Promise<unknown>>> = {
  manifest: (client) => client.manifest(name, 'latest' as Tag),
  'changed manifest': (client) => client.changedManifest(name, 'latest' as Tag, digest),
  'digest of a manifest': (client) => client.manifestDigest(name, 'latest' as Tag),
  'list of tags': (client) => client.tags(name, ''),
  referrers: (client) => client.referrers(name, digest),
  'size of a blob': (client) => client.blobSize(name, digest),
  'whether it has a blob': (client) => client.hasBlob(name, digest),
  'whether a repository is gone': (client) => client.isGone(name),
}

for (const where of ['the registry', 'its token service'] as const) {
  test(`disposal ends every question while ${where} says nothing`, async (t) => {
    let given = 0
    const silent = await listen(t, (_request, response) => {
      response.once('close', () => {
        given += 1
      })
    })
    const challenge = { 'www-authenticate': `Bearer realm="${silent.url}/token",service="s"` }
    const asking = await listen(t, (_request, response) => response.writeHead(401, challenge).end())
    const client = clientOf(t, where === 'the registry' ? silent.url : asking.url, {
      stallMs: 60_000,
      patienceMs: 60_000,
    })
    const asked = Object.values(questions).map((ask) => ask(client).catch((error: unknown) => error))
    const check = client.check()
    const expected = where === 'the registry' ? asked.length + 1 : 1
    await until(() => silent.requests.length >= expected)
    await client[Symbol.asyncDispose]()
    for (const outcome of await Promise.all(asked)) assert.match(String(outcome), /the mirror is stopping/)
    await check
    await until(() => given === silent.requests.length)
    await assert.rejects(client.tags(name, ''), /the mirror is stopping/)
  })
}
