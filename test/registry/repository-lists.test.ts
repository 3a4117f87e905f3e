import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { RepositoryLists } from '../../src/registry/repository-lists.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { localOrigin } from '../../src/storage/repository-key.ts'
import { pull, push, repositoryOf } from '../storage/catalog-fixtures.ts'

const upstreams = ['docker.io', 'docker.io:5000', 'ghcr.io', 'internal']

async function filled(keys: readonly (readonly [origin: string, name: string])[]) {
  const catalog = new MemoryCatalog()
  for (const [origin, name] of keys) {
    const repository = repositoryOf(origin, name)
    await (origin === localOrigin ? push(catalog, repository) : pull(catalog, repository))
  }
  return new RepositoryLists({ catalog, upstreams, servePrivateMs: 0, patienceMs: 50 })
}

/** All names, page by page. */
async function walk(lists: RepositoryLists, limit: number): Promise<string[]> {
  const names: string[] = []
  for (;;) {
    const page = await lists.page({ after: names.at(-1) }, limit)
    names.push(...page.repositories.map(({ name }) => name))
    if (!page.hasMore) return names
    assert.equal(page.repositories.length, limit)
  }
}

const someName = fc.constantFrom(
  ...['a', 'app', 'docker', 'docker.io', 'docker.io0', 'docker.ioa/x', 'docker.io/x', 'internal', 'e/f', 'z'],
)
const someOrigin = fc.constantFrom(localOrigin, ...upstreams)

test('pages of any size hold all names once, in the order of their bytes, whatever the origins', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(someOrigin, someName)),
      fc.integer({ min: 1, max: 5 }),
      async (keys, limit) => {
        const lists = await filled(keys)
        const names = keys.flatMap(([origin, name]) => {
          // What an upstream's name leads means that upstream, not what was pushed.
          if (origin === localOrigin) return isLed(name) ? [] : [name]
          return [`${origin}/${name}`]
        })
        assert.deepEqual(await walk(lists, limit), [...new Set(names)].toSorted())
      },
    ),
  )
})

function isLed(name: string): boolean {
  return upstreams.some((upstream) => name.startsWith(`${upstream}/`))
}

test('a page begins behind any text, and ends where it should', async () => {
  const lists = await filled([
    [localOrigin, 'docker.io0'],
    [localOrigin, 'docker-x'],
    ['docker.io', 'a'],
    ['docker.io', 'b/c'],
    ['ghcr.io', 'a'],
  ])
  const all = ['docker-x', 'docker.io/a', 'docker.io/b/c', 'docker.io0', 'ghcr.io/a']
  for (const after of [
    ...all,
    '',
    'docker.io',
    'docker.io/',
    'docker.io/a!',
    'docker.io/~',
    'x',
    '\u{10ffff}',
    'A:b',
  ]) {
    const { repositories } = await lists.page({ after }, 10)
    assert.deepEqual(
      repositories.map(({ name }) => name),
      all.filter((name) => name > after),
      after,
    )
  }
  assert.deepEqual(await lists.page({}, 0), { repositories: [], hasMore: true })
  assert.equal((await lists.page({}, 5)).hasMore, false)
  assert.deepEqual((await lists.page({ upstream: 'docker.io', after: 'a' }, 5)).repositories, [
    { name: 'b/c', origin: 'docker.io', nameAtOrigin: 'b/c' },
  ])
})

test('what whoever asks may not pull is not listed, and leaves no gap', async () => {
  const lists = await filled(['a', 'b', 'c', 'd'].map((name) => [localOrigin, name] as const))
  const page = await lists.page({ isAllowed: (name) => name !== 'b' }, 2)
  assert.deepEqual([page.repositories.map(({ name }) => name), page.hasMore], [['a', 'c'], true])
})

test('a page holds up nobody for long, however many repositories it has to look at', async () => {
  const lists = await filled(Array.from({ length: 1200 }, (_, n) => [localOrigin, `app-${n}`] as const))
  let hasHadATurn = false
  const other = setImmediate(() => {
    hasHadATurn = true
  })
  const page = await lists.page({ part: 'nothing' }, 10_000)
  clearImmediate(other)
  assert.deepEqual(page, { repositories: [], hasMore: false })
  assert.ok(hasHadATurn)
})

test('a client has two lists made at a time, whoever else asks, and waits for its own alone', async () => {
  const gate = Promise.withResolvers<void>()
  let running = 0
  const listed = async () => {
    running += 1
    await gate.promise
    return { names: [], last: undefined }
  }
  const options = { upstreams: [], servePrivateMs: 0, patienceMs: 50 }
  const lists = new RepositoryLists({ catalog: { listed }, ...options })
  const held = ['one', 'one', 'other'].map((client) => lists.page({}, 10, { client }))
  await assert.rejects(lists.page({}, 10, { client: 'one' }), { code: 'TOOMANYREQUESTS', status: 429 })
  const leaving = new AbortController()
  const left = lists.page({}, 10, { client: 'one', signal: leaving.signal })
  leaving.abort(new Error('left'))
  await assert.rejects(left, /left/)
  assert.equal(running, 3)
  gate.resolve()
  await Promise.all(held)
  assert.deepEqual(await lists.page({}, 10, { client: 'one' }), { repositories: [], hasMore: false })
})
