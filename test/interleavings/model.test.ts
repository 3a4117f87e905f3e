/**
 * Two local repositories, clients that do one thing after the other, time that passes, and a collector, beside a model of
 * what has to be there and what must not be. What is cut into steps and done at once: in the files beside.
 */
import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import fc from 'fast-check'
import { AgeClock } from '../../src/flow/age-clock.ts'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { RegistryError } from '../../src/oci/error.ts'
import type { Tag } from '../../src/oci/reference.ts'
import type { RepositoryName } from '../../src/oci/repository-name.ts'
import { Collector } from '../../src/registry/collector.ts'
import type { LocalRepository } from '../../src/registry/local-repository.ts'
import type { Catalog } from '../../src/storage/catalog.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { day as graceMs, pieces, start } from '../registry/local-fixture.ts'
import type { TestBlob } from '../support/images.ts'
import { catalogs } from './catalogs.ts'
import { attested, blobs, images, index, isManifest, manifests, Shelf, signature } from './shelf.ts'

const names = ['local/one', 'local/two'] as const
type Name = (typeof names)[number]
const tags = ['v1', 'v2'] as const

class Play {
  now = 1_000_000 * graceMs
  readonly parts: ReturnType<typeof start>
  readonly shelves = new Map<Name, Shelf>(names.map((name) => [name, new Shelf()]))
  readonly #collector: Collector

  constructor(catalog: Catalog) {
    this.parts = start(new MemoryBlobStore(), catalog)
    const clock = new AgeClock(graceMs, { wall: () => this.now, monotonic: () => this.now })
    const { blobs: bytes } = this.parts
    const logger = { info: () => {}, error: assert.fail } as never
    this.#collector = new Collector({ catalog, bytes, graceMs, logger, clock, settleMs: 0 })
  }

  at(name: Name): { repository: LocalRepository; shelf: Shelf } {
    return {
      repository: this.parts.at(name as string as RepositoryName),
      shelf: this.shelves.get(name) ?? assert.fail(),
    }
  }

  pass(ms: number): void {
    this.now += ms
    mock.timers.setTime(this.now)
  }

  /** What must be there is there, what must not be is not. */
  async check(wasCollected = false): Promise<void> {
    const { catalog, store } = this.parts
    for (const name of names) {
      const { repository, shelf } = this.at(name)
      const gone: Digest[] = []
      for (const { manifest } of manifests) {
        const { digest } = manifest
        const isHeld = (await catalog.held(repository.key, digest))?.mediaType !== undefined
        if (shelf.isPromised(digest, this.now)) assert.ok(isHeld, `a manifest of ${name} is gone`)
        if (!shelf.manifests.has(digest)) assert.ok(!isHeld, `a manifest of ${name} that was deleted`)
        else if (!isHeld) gone.push(digest)
        if (wasCollected && shelf.idle.has(digest) && shelf.isOver(digest, this.now))
          assert.ok(!isHeld, `a manifest of ${name} was to be collected`)
      }
      assert.ok(wasCollected || gone.length === 0, 'only the collector lets a manifest go')
      for (const digest of gone) shelf.remove(digest, this.now)
      assert.equal(await catalog.isPushed(repository.key), shelf.manifests.size > 0, 'whose the name is')
      for (const { digest } of blobs) {
        const isHeld = (await catalog.held(repository.key, digest))?.localAt !== undefined
        const isHere = isHeld && (await store.stat(digest)) !== undefined
        assert.equal(isHeld, isHere, `the bytes of a blob of ${name}`)
        if (shelf.isPromised(digest, this.now)) assert.ok(isHere, `a promised blob of ${name} is gone`)
        if (!shelf.blobs.has(digest))
          assert.ok(!isHeld, `a blob of ${name} that was never there, or was deleted`)
        if (wasCollected && shelf.isOver(digest, this.now))
          assert.ok(!isHeld, `a blob of ${name} was to be collected`)
        if (!isHeld) shelf.blobs.delete(digest)
      }
    }
    if (!wasCollected) return
    for (const { digest } of blobs) {
      const isHeld = names.some((name) => this.at(name).shelf.blobs.has(digest))
      assert.equal((await store.stat(digest)) !== undefined, isHeld, 'bytes that nobody has')
    }
  }

  async collect(): Promise<void> {
    await this.#collector.collect()
    await this.check(true)
  }
}

type Command = fc.AsyncCommand<Play, Play>

function command(what: string, run: (play: Play) => Promise<void>): Command {
  return {
    check: () => true,
    run: async (_, play) => {
      await run(play)
      await play.check()
    },
    toString: () => what,
  }
}

const name = fc.constantFrom(...names)
const tag = fc.constantFrom(...tags)
const maybeTag = fc.option(tag, { nil: undefined, freq: 1 })
const blob = fc.constantFrom(...blobs)
const manifest = fc.constantFrom(...manifests)
const short = (digest: string) => digest.slice(7, 11)

async function finish(play: Play, to: Name, id: string, { digest, bytes }: TestBlob): Promise<void> {
  const { repository, shelf } = play.at(to)
  await repository.finish(id, digest, pieces(bytes), {})
  shelf.uploads.delete(id)
  shelf.blobs.set(digest, play.now)
}

const commands: fc.Arbitrary<Command>[] = [
  fc.tuple(name, blob).map(([to, one]) =>
    command(`push ${short(one.digest)} to ${to}`, async (play) => {
      await finish(play, to, (await play.at(to).repository.begin()).id, one)
    }),
  ),
  name.map((to) =>
    command(`begin an upload to ${to}`, async (play) => {
      const { repository, shelf } = play.at(to)
      shelf.uploads.set((await repository.begin()).id, play.now)
    }),
  ),
  fc.tuple(name, blob, fc.boolean()).map(([to, one, isCancelled]) =>
    command(`${isCancelled ? 'cancel' : 'finish'} an upload to ${to}`, async (play) => {
      const { repository, shelf } = play.at(to)
      const [id] = shelf.uploads.keys()
      if (id === undefined) return
      if (!isCancelled) return finish(play, to, id, one)
      await repository.cancel(id, {})
      shelf.uploads.delete(id)
    }),
  ),
  fc.tuple(name, blob).map(([of, { digest }]) =>
    command(`HEAD ${short(digest)} of ${of}`, async (play) => {
      const { repository, shelf } = play.at(of)
      const isThere = await repository.blobStat(digest).then(
        () => true,
        (error) => unknown(error, 'BLOB_UNKNOWN'),
      )
      if (shelf.isPromised(digest, play.now)) assert.ok(isThere)
      if (isThere) shelf.blobs.set(digest, play.now)
    }),
  ),
  fc.tuple(name, name, blob).map(([to, from, { digest }]) =>
    command(`mount ${short(digest)} from ${from} to ${to}`, async (play) => {
      const { repository, shelf } = play.at(to)
      const isMounted = await repository.mount(digest, from, { mayRead: () => true })
      if (play.at(from).shelf.isPromised(digest, play.now)) assert.ok(isMounted)
      if (isMounted) shelf.blobs.set(digest, play.now)
    }),
  ),
  fc.tuple(name, manifest, maybeTag).map(([to, { manifest: one, needs }, as]) =>
    command(`put ${short(one.digest)} as ${as} into ${to}`, async (play) => {
      const { repository, shelf } = play.at(to)
      const lacks = (isThere: (digest: Digest) => boolean) =>
        needs.some(({ digest }) => !(isManifest(digest) ? shelf.manifests.has(digest) : isThere(digest)))
      const isTaken = await repository.putManifest((as as Tag) ?? one.digest, one, {}).then(
        () => true,
        (error) => unknown(error, 'MANIFEST_BLOB_UNKNOWN'),
      )
      if (isTaken) assert.ok(!lacks((digest) => shelf.blobs.has(digest)), 'something is missing')
      else
        assert.ok(
          lacks((digest) => shelf.isPromised(digest, play.now)),
          'all of it was promised',
        )
      if (!isTaken) return
      shelf.put(one.digest)
      if (as !== undefined) shelf.tags.set(as, one.digest)
    }),
  ),
  fc.tuple(name, fc.constantFrom(index, attested), tag).map(([to, { manifest: list, images: listed }, as]) =>
    command(`push all of ${short(list.digest)} as ${as} to ${to}`, async (play) => {
      const { repository, shelf } = play.at(to)
      for (const image of listed) {
        for (const one of [image.config, ...image.layers])
          await finish(play, to, (await repository.begin()).id, one)
        await repository.putManifest(image.manifest.digest, image.manifest, {})
        shelf.put(image.manifest.digest)
      }
      await repository.putManifest(as as Tag, list, {})
      shelf.put(list.digest)
      shelf.tags.set(as, list.digest)
    }),
  ),
  fc.tuple(name, manifest).map(([of, { manifest: one }]) =>
    command(`HEAD manifest ${short(one.digest)} of ${of}`, async (play) => {
      const { repository, shelf } = play.at(of)
      const isThere = await repository.manifest(one.digest, { isHead: true }).then(
        () => true,
        (error) => unknown(error, 'MANIFEST_UNKNOWN', 'NAME_UNKNOWN'),
      )
      assert.equal(isThere, shelf.manifests.has(one.digest))
      if (shelf.idle.has(one.digest)) shelf.idle.set(one.digest, play.now)
    }),
  ),
  fc.tuple(name, fc.constantFrom(...images, signature), maybeTag).map(([to, image, as]) =>
    command(`push all of ${short(image.manifest.digest)} as ${as} to ${to}`, async (play) => {
      const { repository, shelf } = play.at(to)
      for (const one of [image.config, ...image.layers])
        await finish(play, to, (await repository.begin()).id, one)
      await repository.putManifest((as as Tag) ?? image.manifest.digest, image.manifest, {})
      shelf.put(image.manifest.digest)
      if (as !== undefined) shelf.tags.set(as, image.manifest.digest)
    }),
  ),
  fc.tuple(name, tag).map(([of, as]) =>
    command(`delete ${as} of ${of}`, async (play) => {
      const { repository, shelf } = play.at(of)
      assert.equal(await repository.forget(as as Tag, {}), shelf.tags.delete(as))
    }),
  ),
  fc.tuple(name, manifest).map(([of, { manifest: one }]) =>
    command(`delete ${short(one.digest)} of ${of}`, async (play) => {
      const { repository, shelf } = play.at(of)
      if (shelf.needs(one.digest)) return assert.rejects(repository.forget(one.digest, {}), RegistryError)
      const isThere = shelf.manifests.has(one.digest)
      assert.equal(await repository.forget(one.digest, {}), isThere)
      if (isThere) shelf.remove(one.digest, play.now)
    }),
  ),
  fc.tuple(name, blob).map(([of, { digest }]) =>
    command(`delete ${short(digest)} of ${of}`, async (play) => {
      const { repository, shelf } = play.at(of)
      if (shelf.needs(digest)) return assert.rejects(repository.forgetBlob(digest, {}), RegistryError)
      await repository.forgetBlob(digest, {})
      shelf.blobs.delete(digest)
    }),
  ),
  fc.tuple(name, tag).map(([of, as]) =>
    command(`pull ${as} of ${of}`, async (play) => {
      const { repository, shelf } = play.at(of)
      const digest = shelf.tags.get(as)
      const pulled = await repository.manifest(as as Tag, { isHead: false }).catch((error) => {
        unknown(error, 'MANIFEST_UNKNOWN', 'NAME_UNKNOWN')
        return undefined
      })
      assert.equal(pulled?.digest, digest)
      for (const part of manifests.find(({ manifest: one }) => one.digest === digest)?.needs ?? []) {
        if (isManifest(part.digest)) continue
        await using reader = (await repository.blob(part.digest)).reader
        const bytes = Buffer.alloc(reader.size)
        await reader.read(bytes, 0)
        assert.equal(digestOf(bytes), part.digest)
      }
    }),
  ),
  fc
    .constantFrom(0.1, 0.3, 0.5, 0.74, 1.01)
    .map((share) =>
      command(`${share} of the grace passes`, async (play) => play.pass(Math.ceil(share * graceMs))),
    ),
  fc.constant(command('collect', (play) => play.collect())),
  fc.constant(
    command('all graces pass, and collect', async (play) => {
      play.pass(graceMs + 1)
      await play.collect()
    }),
  ),
]

for (const [which, open] of Object.entries(catalogs)) {
  const openCatalog = open()

  test(`what has to be there is there, and what nobody needs goes, whatever is done (${which})`, async (t) => {
    mock.timers.enable({ apis: ['Date'] })
    t.after(() => mock.timers.reset())
    await fc.assert(
      fc.asyncProperty(fc.commands(commands, { maxCommands: 60, size: 'max' }), async (chosen) => {
        const play = new Play(openCatalog())
        play.pass(0)
        try {
          await fc.asyncModelRun(() => ({ model: play, real: play }), chosen)
        } finally {
          await play.parts.uploads[Symbol.asyncDispose]()
          await play.parts.blobs[Symbol.asyncDispose]()
        }
      }),
      { numRuns: 150 },
    )
  })
}

/** False where it is one of these; else it is thrown on. */
function unknown(error: unknown, ...codes: string[]): false {
  if (error instanceof RegistryError && codes.includes(error.code)) return false
  throw error
}
