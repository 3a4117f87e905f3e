import assert from 'node:assert/strict'
import { test } from 'node:test'
import { settled } from '../interleavings/turns.ts'
import { zipf } from '../support/zipf.ts'
import { Random } from '../torture/random.ts'
import { IdealCache, imagesOf, sizeOf, WeekMirror } from './week-world.ts'

const hour = 3_600_000
const day = 24 * hour
const seed = 7
const images = imagesOf(10_000, seed)
const maxBytes = Math.floor(sizeOf(images) / 10)
const pulls = 4_000

/** How long the pulls take: in the second case all that is here came lately. */
const spans = { 'a week': 7 * day, 'half a day': day / 2 }

for (const [span, spanMs] of Object.entries(spans)) {
  test(`${span} of pulls through a tenth of their bytes: as good as an ideal cache, and the limit holds`, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'], now: 10_000 * day })
    const startedAt = process.hrtime.bigint()
    const random = new Random(seed)
    const draw = zipf(images.length, () => random.next())
    const ideal = new IdealCache(maxBytes)
    const [here, best] = [counts(), counts()]
    let [most, steps] = [0, 0]
    await using mirror = new WeekMirror({ maxBytes, minFreeBytes: 0, keepAtLeastMs: day })
    for (let n = 0; n < pulls; n += 1) {
      const image = images[draw()] ?? assert.fail()
      const hits = await mirror.pull(image)
      const counted = Math.max(await mirror.countedBytes(), mirror.storedBytes)
      assert.ok(counted <= maxBytes, `${counted} of ${maxBytes} bytes after ${n} pulls`)
      most = Math.max(most, counted)
      // What an empty cache misses in its first day is nobody's fault.
      const isCounted = n > pulls / 7
      for (const [index, blob] of image.blobs.entries()) {
        steps += 1
        if (isCounted) add(here, blob.size, hits[index] === true)
        const wouldHit = ideal.use(blob)
        if (isCounted) add(best, blob.size, wouldHit)
      }
      await settled()
      t.mock.timers.tick(spanMs / pulls)
      await settled()
    }
    const seconds = Number(process.hrtime.bigint() - startedAt) / 1e9
    t.diagnostic(
      `${pulls} pulls of ${steps} blobs, ${(maxBytes / 1e6).toFixed(1)} MB at most, in ${seconds.toFixed(0)} s`,
    )
    t.diagnostic(
      `hits: ${show(here)}; an ideal LRU of that size: ${show(best)}; never more than ${share(most, maxBytes)} of the limit`,
    )
    assert.ok(here.hits / here.asked >= best.hits / best.asked - 0.03)
    assert.ok(here.hitBytes / here.bytes >= best.hitBytes / best.bytes - 0.03)
  })
}

interface Counts {
  asked: number
  hits: number
  bytes: number
  hitBytes: number
}

function counts(): Counts {
  return { asked: 0, hits: 0, bytes: 0, hitBytes: 0 }
}

function add(to: Counts, bytes: number, isHit: boolean): void {
  to.asked += 1
  to.bytes += bytes
  if (isHit) to.hits += 1
  if (isHit) to.hitBytes += bytes
}

function show({ asked, hits, bytes, hitBytes }: Counts): string {
  return `${share(hits, asked)} of the blobs, ${share(hitBytes, bytes)} of the bytes`
}

function share(part: number, whole: number): string {
  return `${((100 * part) / whole).toFixed(2)} %`
}
