/**
 * A disk that another program fills. Where one copies on write the kernel has no page for what is written to a map of
 * memory, and ends the process; xfs makes no file any more. Thought of: what is stored, and what is not; another program that takes each byte that
 * becomes free; that it starts there; that a file which an older version left is no obstacle.
 */
import assert from 'node:assert/strict'
import { open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { smallBtrfs, smallBtrfsNeeds, smallXfs, smallXfsNeeds } from '../storage/files/small-disk.ts'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage, pseudoRandomBytes } from '../support/images.ts'
import { reasonToSkip } from '../support/programs.ts'
import { startLarder } from './support/larder-process.ts'

const images = 20
/** Those that are pulled before the disk is full. */
const stored = 3

/** Takes all that is free. */
async function fillUp(folder: string): Promise<void> {
  const file = await open(join(folder, 'hog'), 'a')
  try {
    // What the disk holds back is given byte by byte.
    for (const size of [65_536, 4096, 512]) {
      await assert.rejects(
        async () => {
          for (;;) await file.appendFile(Buffer.alloc(size))
        },
        { code: 'ENOSPC' },
      )
    }
  } finally {
    await file.close()
  }
}

test(
  'btrfs that another program fills: all pulls go on, and so they do after a start there',
  {
    skip: reasonToSkip(smallBtrfsNeeds),
  },
  async (t) => fillAndStart(await smallBtrfs(t, 128)),
)

test(
  'xfs that another program fills: all pulls go on, and so they do after a start there',
  {
    skip: reasonToSkip(smallXfsNeeds),
  },
  async (t) => fillAndStart(await smallXfs(t, 320)),
)

async function fillAndStart(directory: string): Promise<void> {
  await writeFile(join(directory, 'catalog.db-shm'), Buffer.alloc(32_768, 1))
  await using hub = await startDockerHub({ auth: 'none', cdn: false })
  const made = Array.from({ length: images }, (_, n) => {
    const image = buildImage({ layers: [pseudoRandomBytes(400_000, `layer ${n}`)], seed: n })
    hub.addImage(`library/app${n}`, 'v1', image)
    return image
  })
  const options = {
    upstreams: [{ name: 'docker.io', url: hub.url }],
    directory,
    environment: { MIRROR_CACHE_MAX_SIZE: '30MB', MIRROR_CACHE_MIN_FREE: '5MB' },
  }
  for (let start = 0; start < 2; start += 1) {
    if (start > 0) await fillUp(directory)
    await using mirror = await startLarder(options)
    for (const [n, { layers, manifest }] of made.entries()) {
      if (n >= stored) await fillUp(directory)
      for (const [kind, of] of [
        ...layers.map((layer) => ['blobs', layer] as const),
        ['manifests', manifest] as const,
      ]) {
        const pulled = await pull(`${mirror.url}/v2/library/app${n}/${kind}/${of.digest}`)
        assert.deepEqual([pulled.status, pulled.isComplete, pulled.digest], [200, true, of.digest])
      }
    }
    assert.equal((await pull(`${mirror.url}/readyz`)).status, 200)
  }
}
