/**
 * Runs in a process of its own, under strace: stores a blob in the folder of its first parameter, in small
 * chunks, and prints how far it came as one line of JSON.
 */

import { digestOf } from '../../../src/oci/digest.ts'
import { StorageError } from '../../../src/storage/error.ts'
import { FileBlobStore } from '../../../src/storage/files/file-blob-store.ts'
import { lent } from '../../support/lent.ts'
import { testBytes } from './storage-folder.ts'

export interface FaultReport {
  readonly stage: 'write' | 'seal' | 'stored'
  readonly code?: string | undefined
  readonly causeCode?: string | undefined
  /** Bytes that an earlier process left and that were good. */
  readonly found: number
}

/** What the child stores. */
export const faultContent = testBytes(400_000, 5)

/** The partial's options, also for those who leave one to the child. */
export const faultPartial = { id: 'x', algorithm: 'sha256' } as const

async function storeUnderFaults(folder: string, clockStepMs: number): Promise<FaultReport> {
  let now = 0
  performance.now = () => now
  const store = await FileBlobStore.open(folder)
  await using partial = await store.partials.open(faultPartial)
  const found = partial.present.total
  let stage: FaultReport['stage'] = 'write'
  try {
    for (let at = 0; at < faultContent.length; at += 100_000) {
      now += clockStepMs
      await partial.write(at, lent(faultContent.subarray(at, at + 100_000)))
    }
    stage = 'seal'
    const busy = await partial.seal(digestOf(faultContent)).then(
      () => undefined,
      (error: unknown) => {
        if (error instanceof StorageError && error.code === 'BUSY') return error
        throw error
      },
    )
    if (busy) {
      await partial.seal(digestOf(faultContent))
      return {
        stage: 'stored',
        code: busy.code,
        causeCode: (busy.cause as NodeJS.ErrnoException).code,
        found,
      }
    }
    return { stage: 'stored', found }
  } catch (error) {
    const { code, cause } = error as NodeJS.ErrnoException
    await partial.discard(new Error('it failed', { cause: error }))
    return { stage, code, causeCode: (cause as NodeJS.ErrnoException | undefined)?.code, found }
  }
}

if (import.meta.main) {
  const [folder = '', clockStepMs = '0'] = process.argv.slice(2)
  process.stdout.write(JSON.stringify(await storeUnderFaults(folder, Number(clockStepMs))))
}
