import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pino } from 'pino'
import { expiringInMemory } from '../../src/flow/expiring.ts'
import { Evidence } from '../../src/mirror/evidence.ts'
import type { UpstreamRepository } from '../../src/mirror/upstream-repository.ts'
import { digestOf } from '../../src/oci/digest.ts'
import type { RepositoryName } from '../../src/oci/repository-name.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { repositoryKey } from '../../src/storage/repository-key.ts'
import { UpstreamError } from '../../src/upstream/error.ts'

test('what is asked for all the time is looked up once a second; a refusal and a yes are heard at once', async () => {
  const catalog = new MemoryCatalog()
  let looks = 0
  const counting = Object.assign(Object.create(catalog) as MemoryCatalog, {
    held: (...of: Parameters<MemoryCatalog['held']>) => {
      looks += 1
      return catalog.held(...of)
    },
    ...Object.fromEntries(
      (['confirmed', 'refused'] as const).map((verb) => [verb, catalog[verb].bind(catalog)]),
    ),
  })
  const evidence = new Evidence({
    catalog: counting,
    expiring: (_, budget) => expiringInMemory(budget, (error) => assert.fail(String(error))),
    revalidateMs: 300_000,
    logger: pino({ level: 'silent' }),
  })
  const name = 'acme/app' as RepositoryName
  const key = repositoryKey('docker.io', name)
  const digest = digestOf(Buffer.from('a layer'))
  const repository = {
    key,
    name,
    upstream: { name: 'docker.io', hasAccount: true, isRefused: () => true },
  } as unknown as UpstreamRepository
  assert.equal(await evidence.held(key, digest), undefined)
  await evidence.confirmed(repository, digest, { as: 'anyone', at: 1000 })
  const startedAt = performance.now()
  for (let n = 0; n < 50; n += 1) assert.equal((await evidence.held(key, digest))?.publicAt, 1000)
  const seconds = Math.floor((performance.now() - startedAt) / 1000)
  assert.ok(looks >= 2 && looks <= 2 + seconds, `${looks} looks, the first one before ${seconds} s`)
  await evidence.heard(
    repository,
    new UpstreamError('UNAUTHORIZED', 'docker.io', 'it is private', { status: 401 }),
    {},
  )
  assert.notEqual((await evidence.held(key, digest))?.refusedSince, undefined)
  await evidence.confirmed(repository, digest, { as: 'anyone', at: 2000 })
  assert.equal((await evidence.held(key, digest))?.refusedSince, undefined)
})
