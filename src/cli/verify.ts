import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import type { DamagedBlob, Verified } from '../app/verification.ts'
import { createApp } from '../app.ts'
import type { Digest } from '../oci/digest.ts'
import { humanBytes } from '../units/human.ts'
import type { ConfigCommandIo } from './config.ts'
import { exitCodes } from './exit-codes.ts'
import { configFor, type FolderOptions, folderCommand } from './stored-folder.ts'

/** What the command sees of the process. */
export interface VerifyCommandIo extends ConfigCommandIo {
  readonly version: string
  /** Aborts when the process is asked to stop. */
  readonly stop: AbortSignal
  readonly onStarted?: () => void
  /** Milliseconds between two lines about how far it is. */
  readonly progressMs?: number
}

interface Options extends FolderOptions {
  readonly repair?: boolean
  readonly sample?: number
  readonly seed?: string
}

const defaultProgressMs = 10_000

/**
 * Adds `larder verify`, which compares what is stored with its digests, also beside a running mirror. `--repair` sets aside what is
 * damaged and fetches it again; it needs the folder for itself. The result goes to stdout, how far it is to stderr. The
 * exit code is 12 where something is damaged, and stays so. Throws as `createApp` does.
 */
export function addVerify(program: Command, io: VerifyCommandIo): void {
  const description = 'compare what is stored with its digests, also while the mirror runs'
  folderCommand(program, { name: 'verify', description, onStarted: io.onStarted })
    .option('--repair', 'set aside what is damaged and fetch it again, while the mirror is stopped')
    .option('--sample <share>', 'read so many of the blobs, chosen by chance, such as 5%', shareOf)
    .option('--seed <word>', 'the same word chooses the same blobs')
    .action((options: Options) => verify(io, options))
}

async function verify(io: VerifyCommandIo, options: Options): Promise<void> {
  const { environment, stdout, stderr, stop: signal, version } = io
  const { config, logger } = await configFor(io, options)
  const folder = config.storage.dir
  const seed = options.seed ?? randomBytes(4).toString('hex')
  // It has the lock before anything is read: whoever is refused has not waited for hours.
  await using app = options.repair ? await createApp({ config, logger, environment, version }) : undefined
  const asked = { share: options.sample, seed, onProgress: progress(io), signal }
  let verified: Verified
  let whole: ReadonlySet<Digest> = new Set()
  try {
    const { verifyFolder } = await import('../app/verification.ts')
    verified = await verifyFolder(folder, asked)
    if (app)
      whole = await app.repair(
        verified.damaged.map(({ digest }) => digest),
        signal,
      )
  } catch (error) {
    if (!signal.aborted) throw error
    stderr.write('interrupted: not all was verified\n')
    io.setExitCode(exitCodes.interrupted)
    return
  }
  const damaged = verified.damaged.map((blob) => ({
    ...blob,
    isRepaired: isRepaired(blob, whole, app !== undefined),
  }))
  const sample = options.sample === undefined ? undefined : { share: options.sample, seed }
  stdout.write(
    options.json
      ? `${JSON.stringify({ schema: 'larder.verify/v1', folder, ...verified, damaged, sample: sample ?? null })}\n`
      : sentences(folder, { ...verified, damaged }, sample),
  )
  const isAllRead = verified.catalogFailure === undefined && verified.unreadable.length === 0
  const isWell = isAllRead && damaged.every((blob) => blob.isRepaired)
  if (!isWell) io.setExitCode(exitCodes.warnings)
}

/** What was mirrored and is not there is fetched when somebody wants it: its record has gone. */
function isRepaired(
  { digest, found, repositories }: DamagedBlob,
  whole: ReadonlySet<Digest>,
  wasTried: boolean,
): boolean {
  return whole.has(digest) || (wasTried && found === 'missing' && repositories.length === 0)
}

type Shown = DamagedBlob & { readonly isRepaired: boolean }

const inUse =
  'the mirror that runs has its catalog to itself on this file system: blobs were compared with their digests alone'

function sentences(
  folder: string,
  {
    blobs,
    read,
    bytes,
    damaged,
    unreadable,
    quarantined,
    catalogFailure,
    isCatalogInUse,
  }: Omit<Verified, 'damaged'> & { readonly damaged: readonly Shown[] },
  sample: { readonly share: number; readonly seed: string } | undefined,
): string {
  const chosen = sample && `, a share of ${sample.share * 100}% by --seed ${sample.seed}`
  const lines = [
    ...(catalogFailure === undefined ? [] : [`the catalog could not be read: ${catalogFailure}`]),
    ...(isCatalogInUse ? [inUse] : []),
    ...unreadable.map((name) => `${name} could not be read: are its owner and its rights right?`),
    ...damaged.map(
      (one) => `${one.digest}  ${one.found}${one.isRepaired ? ', whole again' : ''}${pushedTo(one)}`,
    ),
    ...(quarantined.blobs === 0
      ? []
      : [
          `${counted(quarantined.blobs)} set aside in ${join(folder, 'quarantine')} (${humanBytes(quarantined.bytes)})`,
        ]),
    `${folder}: ${blobs} blobs, ${read} of them read whole (${humanBytes(bytes)})${chosen ?? ''}`,
    damaged.length === 0
      ? `nothing ${unreadable.length > 0 ? 'that could be read ' : ''}is damaged`
      : `${damaged.length} damaged, ${damaged.filter(({ isRepaired }) => isRepaired).length} of them whole again`,
  ]
  return lines.map((line) => `${line}\n`).join('')
}

function counted(files: number): string {
  return files === 1 ? '1 damaged file is' : `${files} damaged files are`
}

function pushedTo({ repositories, isRepaired }: Shown): string {
  if (repositories.length === 0) return ''
  return `, pushed to ${repositories.join(', ')}${isRepaired ? '' : ': push it again'}`
}

function progress({ stderr, progressMs = defaultProgressMs }: VerifyCommandIo): (verified: Verified) => void {
  let toldAt = performance.now()
  return ({ blobs, bytes, damaged }) => {
    if (performance.now() - toldAt < progressMs) return
    toldAt = performance.now()
    stderr.write(`${blobs} blobs so far, ${humanBytes(bytes)} read, ${damaged.length} damaged\n`)
  }
}

/** Commander prints the message, and the command ends with 2. */
function shareOf(text: string): number {
  const percent = /^(\d+(?:\.\d+)?) ?%$/.exec(text)
  const share = Number(percent?.[1]) / 100
  if (share > 0 && share <= 1) return share
  throw new InvalidArgumentError('It is a share of all blobs, such as 5%.')
}
