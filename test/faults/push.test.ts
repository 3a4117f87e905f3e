import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestBlob, TestImage } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { type Answered, pushImage, pushManifest, send, withDigest } from '../support/push.ts'
import {
  breakDisk,
  type DiskErrors,
  diskErrors,
  type Fault,
  faultsOf,
  nameOf,
  operationsOf,
  problemsOfFolder,
  problemsOfPulls,
  pullImage,
  quiet,
  type Setting,
  startSetting,
} from './setting.ts'

const errors: DiskErrors = {
  ...diskErrors,
  create: ['ENOSPC', 'EDQUOT', 'EIO', 'EROFS', 'EMFILE'],
  sync: ['EIO', 'ENOSPC', 'EDQUOT'],
  space: ['EIO'],
}
const repository = 'local/app'

test('a push, and the n-th operation on the disk fails: what is acknowledged stays, and it can go on', async (t) => {
  await using setting = await startSetting(t)
  const { mirror, directory, newImage } = setting
  const base = `${mirror.url}/v2/${repository}`
  const counts = await operationsOf(setting, () => pushImage(base, 'first', newImage()))
  t.diagnostic(`operations of a push: ${JSON.stringify(counts)}`)
  const problems: string[] = []
  const acknowledged: TestImage[] = []
  let cases = 0
  let refused = 0
  for (const fault of faultsOf(counts, errors)) {
    cases += 1
    const image = newImage()
    const { found, wasRefused } = await push(setting, { fault, base, image })
    if (wasRefused) refused += 1
    if (found.length === 0) acknowledged.push(image)
    problems.push(...found.map((problem) => `${nameOf(fault)}: ${problem}`))
  }
  t.diagnostic(`${cases} faults, ${refused} of them refused the push`)
  await mirror[Symbol.asyncDispose]()
  await using again = await startMirror({ upstream: 'http://127.0.0.1:9', directory })
  for (const image of acknowledged) {
    const pulls = await pullImage(`${again.url}/v2/${repository}`, image)
    problems.push(...problemsOfPulls(pulls).map((problem) => `after a start: ${problem}`))
  }
  assert.deepEqual(problems, [])
})

async function push(
  setting: Setting,
  { fault, base, image }: { fault: Fault; base: string; image: TestImage },
): Promise<{ found: string[]; wasRefused: boolean }> {
  const { disk } = setting
  const { config, layers, manifest } = image
  breakDisk(disk, fault)
  const pushed = await Promise.all([config, ...layers].map((blob) => pushBlob(base, blob)))
  const found = pushed.flatMap(({ refusal }) => (refusal ? problemsOfRefusal(refusal) : []))
  const put = await pushManifest(base, 'v1', manifest)
  if (put.status !== 201) found.push(...problemsOfRefusal(put))
  const isWhole = pushed.every(({ refusal }) => refusal === undefined)
  if (put.status === 400 && isWhole) found.push(`a manifest was refused: ${put.text}`)
  disk.heal()
  for (const { blob, refusal, session } of pushed)
    if (refusal) found.push(...(await goOn(base, blob, session)))
  const again = await pushManifest(base, 'v1', manifest)
  if (again.status !== 201) found.push(`once it is well: ${again.status} ${again.text}`)
  found.push(...problemsOfPulls(await pullImage(base, image)), ...(await quiet(setting)))
  found.push(...problemsOfFolder(setting))
  return { found, wasRefused: put.status !== 201 }
}

interface Pushed {
  readonly blob: TestBlob
  /** Undefined where all was acknowledged. */
  readonly refusal?: Answered
  /** The URL of the upload that did not come to its end. */
  readonly session?: string
}

/** POST, PATCH, PUT, up to the first refusal. */
async function pushBlob(base: string, blob: TestBlob): Promise<Pushed> {
  const begun = await send('POST', `${base}/blobs/uploads/`)
  if (begun.status !== 202) return { blob, refusal: begun }
  const session = new URL(begun.headers.location ?? '', base).href
  const patched = await send('PATCH', session, { body: [blob.bytes] })
  if (patched.status !== 202) return { blob, refusal: patched, session }
  const put = await send('PUT', withDigest(session, blob.digest))
  return put.status === 201 ? { blob } : { blob, refusal: put, session }
}

/** A refusal says in the form of the specification that the mirror is to blame. */
function problemsOfRefusal({ status, code, text }: Answered): string[] {
  // The manifest of what was refused before.
  if (status === 404 || (status === 400 && code === 'MANIFEST_BLOB_UNKNOWN')) return []
  return status >= 500 && code !== undefined ? [] : [`it was refused by ${status} ${text}`]
}

/** Goes on with the session where it still is, else begins anew. */
async function goOn(base: string, blob: TestBlob, session: string | undefined): Promise<string[]> {
  const state = session === undefined ? undefined : await send('GET', session)
  if (session === undefined || state?.status === 404) {
    const { refusal } = await pushBlob(base, blob)
    return refusal ? [`once it is well: ${refusal.status} ${refusal.text}`] : []
  }
  const last = Number(state?.headers.range?.split('-')[1])
  const start = last === 0 ? 0 : last + 1
  const body = blob.bytes.subarray(start)
  const put = await send('PUT', withDigest(session, blob.digest), { body })
  if (put.status === 201) return []
  await send('DELETE', session)
  return [`a session could not go on behind ${start} of ${blob.size} bytes: ${put.status} ${put.text}`]
}
