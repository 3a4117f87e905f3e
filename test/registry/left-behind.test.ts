/**
 * What an earlier process left of a blob belongs to the repository that it came for. Neighbours that were thought of:
 * a part, all of it but not sealed, nothing but the name; small and large; the repository that it came for asks again.
 */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { FileBlobStore } from '../../src/storage/files/file-blob-store.ts'
import { pull } from '../support/client.ts'
import { pseudoRandomBytes } from '../support/images.ts'
import { lent } from '../support/lent.ts'
import { startMirror } from '../support/mirror.ts'
import { startPlainRegistry } from '../support/plain-registry.ts'

for (const size of [3000, 300_000]) {
  for (const left of [0, size / 2, size]) {
    test(`${left} of ${size} bytes lie here: another repository gets none of them before its upstream says yes`, async (t) => {
      const bytes = pseudoRandomBytes(size, `left ${left}`)
      const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
      const directory = await mkdtemp(join(tmpdir(), 'larder-'))
      t.after(() => rm(directory, { recursive: true, force: true }))
      {
        await using store = await FileBlobStore.open(directory)
        const partial = await store.partials.open({ id: digest.replace(':', '-'), algorithm: 'sha256' })
        if (left > 0) await partial.write(0, lent(bytes.subarray(0, left)))
        await partial.suspend(new Error('killed'))
      }
      await using registry = await startPlainRegistry(({ url = '', headers }, response) => {
        if (!url.startsWith('/v2/team/own/')) return void response.writeHead(404).end()
        const start = Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0)
        const range = { 'content-range': `bytes ${start}-${size - 1}/${size}` }
        response.writeHead(start > 0 ? 206 : 200, { 'content-length': size - start, ...(start > 0 && range) })
        response.end(bytes.subarray(start))
      })
      await using mirror = await startMirror({ upstream: registry.url, directory })
      const blob = (name: string) => pull(`${mirror.url}/v2/${name}/blobs/${digest}`)
      for (const name of ['team/other', 'team/other']) {
        const { status, text } = await blob(name)
        assert.deepEqual([status, JSON.parse(text).errors[0].code], [404, 'BLOB_UNKNOWN'])
      }
      const own = await blob('team/own')
      assert.deepEqual([own.status, own.digest, own.isComplete], [200, digest, true])
      assert.equal((await blob('team/other')).status, 404)
    })
  }
}
