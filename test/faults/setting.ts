import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { storageFolder } from '../storage/files/storage-folder.ts'
import { type Pulled, pull } from '../support/client.ts'
import { type DockerHub, startDockerHub } from '../support/docker-hub.ts'
import type { ErrorName, Operation } from '../support/faulty-calls.ts'
import { FaultyDisk } from '../support/faulty-disk.ts'
import { buildImage, type TestBlob, type TestImage } from '../support/images.ts'
import { type MirrorOptions, startMirror, type TestMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'

/** One way in which the disk may fail once, or from there on. */
export interface Fault {
  readonly operation: Operation
  readonly error: ErrorName
  readonly nth: number
  readonly isLasting: boolean
}

/** A mirror over a disk that fails as it is told, with an upstream that does not. Dispose to stop it. */
export interface Setting extends AsyncDisposable {
  readonly disk: FaultyDisk
  readonly hub: DockerHub
  readonly mirror: TestMirror
  readonly directory: string
  /** Another image at each call. It is at the upstream where `isUpstream`. */
  newImage(): TestImage
  /** Descriptors of files below the folder that are open while nobody works. */
  readonly restingFiles: number
  /** Files that were looked at. */
  readonly seen: Set<string>
}

/** Bytes: one that is verified before its first byte, and one that comes in many pieces. */
const layerSizes = [20_000, 1_200_000]
export const repositoryName = 'library/app'

export async function startSetting(t: TestContext, options: MirrorOptions = {}): Promise<Setting> {
  const directory = await storageFolder(t)
  const disk = await FaultyDisk.below(t, directory)
  await using opening = new AsyncDisposableStack()
  const hub = opening.use(await startDockerHub({ auth: 'none', cdn: false }))
  const mirror = opening.use(
    await startMirror({ patienceMs: 2000, probeMs: 5, upstream: hub.url, directory, ...options }),
  )
  // Whatever is broken still, it can be closed.
  opening.defer(() => disk.heal())
  let made = 0
  const newImage = () => {
    made += 1
    return buildImage({ layers: layerSizes, seed: `image ${made}` })
  }
  const open = opening.move()
  return {
    disk,
    hub,
    mirror,
    directory,
    newImage,
    restingFiles: openFilesBelow(directory),
    seen: new Set(),
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  }
}

/** What each kind of operation may fail with. */
export type DiskErrors = Readonly<Partial<Record<Operation, readonly [ErrorName, ...ErrorName[]]>>>

/** What a disk says that is full, broken or read-only. */
export const diskErrors: DiskErrors = {
  open: ['EIO', 'EMFILE'],
  create: ['ENOSPC', 'EDQUOT', 'EIO', 'EROFS'],
  read: ['EIO'],
  write: ['ENOSPC', 'EDQUOT', 'EIO', 'EROFS'],
  sync: ['EIO', 'ENOSPC'],
  rename: ['ENOSPC', 'EIO', 'EROFS'],
  mkdir: ['ENOSPC', 'EROFS'],
  unlink: ['EIO', 'EROFS'],
  stat: ['EIO'],
}

/** How much room there is gets asked now and then by the clock: on a slow machine more often than when the fault comes. */
const mostLooks = 10

/** Every N of what is counted, once and with all behind it, with the errors of its kind in turn. */
export function* faultsOf(
  counts: Readonly<Partial<Record<Operation, number>>>,
  errors: DiskErrors,
): Generator<Fault> {
  for (const operation of Object.keys(errors) as Operation[]) {
    const [first, ...others] = errors[operation] ?? []
    if (first === undefined) continue
    const names = [first, ...others]
    // What is short for a moment is not short for ever.
    const lasting = names.filter((name) => name !== 'EMFILE')
    const count = Math.min(
      counts[operation] ?? 0,
      operation === 'space' ? mostLooks : Number.POSITIVE_INFINITY,
    )
    for (let nth = 1; nth <= count; nth += 1) {
      yield { operation, error: names[nth % names.length] ?? first, nth, isLasting: false }
      yield { operation, error: lasting[nth % lasting.length] ?? first, nth, isLasting: true }
    }
  }
}

/** What `work` does to the disk, by the kind of operation. */
export async function operationsOf(
  { disk }: Pick<Setting, 'disk'>,
  work: () => Promise<unknown>,
): Promise<Record<Operation, number>> {
  const before = disk.counts
  await work()
  const entries = Object.entries(disk.counts).map(([operation, count]) => [
    operation,
    count - before[operation as Operation],
  ])
  return Object.fromEntries(entries)
}

export function breakDisk(disk: FaultyDisk, { operation, error, nth, isLasting }: Fault): void {
  disk.fail({ operation, error, nth, ...(isLasting ? {} : { times: 1 }), losesUnsynced: true })
}

export function nameOf({ operation, error, nth, isLasting }: Fault): string {
  return `${operation} ${nth}${isLasting ? ' and all behind it' : ''}: ${error}`
}

/** Pulls a manifest and its blobs, as Docker does: the blobs at once. `base`: the URL of the repository. */
export async function pullImage(
  base: string,
  image: TestImage,
): Promise<{ blob: TestBlob; pulled: Pulled }[]> {
  const { manifest, config, layers } = image
  const headers = { accept: manifest.mediaType }
  const first = { blob: manifest, pulled: await pull(`${base}/manifests/${manifest.digest}`, { headers }) }
  const others = [config, ...layers].map(async (blob) => ({
    blob,
    pulled: await pull(`${base}/blobs/${blob.digest}`),
  }))
  return [first, ...(await Promise.all(others))]
}

/** What is wrong with answers of which each has to be whole and right. */
export function problemsOfPulls(pulls: readonly { blob: TestBlob; pulled: Pulled }[]): string[] {
  return pulls.flatMap(({ blob, pulled }) => {
    const { status, isComplete, digest, received } = pulled
    if (status === 200 && isComplete && digest === blob.digest) return []
    if (status === 200 && isComplete) return [`WRONG BYTES of ${blob.size}`]
    return [`${blob.size} bytes: ${status}, ${received} came ${status === 200 ? '' : pulled.text}`]
  })
}

/** Waits until nobody works any more, and the disk is known to be well. */
export async function quiet({ mirror, directory, restingFiles }: Setting): Promise<string[]> {
  let seen = ''
  const isQuiet = async () => {
    const { fills, requests } = mirror.app.underWay
    const files = openFilesBelow(directory)
    seen = `${fills} fills, ${requests} requests, ${files} open files, not ${restingFiles}`
    if (fills > 0 || requests > 0 || files > restingFiles) return false
    const { statusCode, body } = await mirror.app.server.inject('/readyz')
    seen = `/readyz: ${statusCode} ${body}`
    return statusCode === 200 && JSON.parse(body).status === 'ready'
  }
  return until(isQuiet).then(
    () => [],
    () => [`it is not quiet: ${seen}`],
  )
}

/** What must not lie in a folder in which nobody works, and what is stored under another name than its own; told once. */
export function problemsOfFolder({ directory, seen }: Setting): string[] {
  const left = ['partial', 'upload'].flatMap((folder) =>
    namesIn(join(directory, folder)).map((name) => `${folder}/${name}`),
  )
  const stored = namesIn(join(directory, 'blobs/sha256')).flatMap((prefix) =>
    namesIn(join(directory, 'blobs/sha256', prefix)),
  )
  const newlyLeft = left.filter((name) => !seen.has(name) && name !== 'partial/.probe')
  const wrong = stored.filter((hex) => !seen.has(hex) && !isRight(directory, hex))
  for (const one of [...left, ...stored]) seen.add(one)
  return [
    ...newlyLeft.map((name) => `left over: ${name}`),
    ...wrong.map((hex) => `wrong bytes are stored as ${hex}`),
  ]
}

function isRight(directory: string, hex: string): boolean {
  const bytes = readFileSync(join(directory, 'blobs/sha256', hex.slice(0, 2), hex))
  return createHash('sha256').update(bytes).digest('hex') === hex
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

/** Files and folders that this process holds open below a folder, without those of SQLite. */
function openFilesBelow(directory: string): number {
  const opened = readdirSync('/proc/self/fd').flatMap((descriptor) => {
    try {
      return [readlinkSync(`/proc/self/fd/${descriptor}`)]
    } catch {
      return []
    }
  })
  return opened.filter((path) => path.startsWith(directory) && !/\/(catalog\.db|lock)/.test(path)).length
}
