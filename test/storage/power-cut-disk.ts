import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { run } from '../support/child-process.ts'

/** A disk whose power can be cut, as seen by whoever mounts it afterwards. */
export interface PowerCutDisk {
  /** A folder on the disk, ext4. */
  readonly folder: string
  /**
   * Calls `check` with the folder as a power cut at this moment would have left it: what the file system had
   * handed to the disk, its journal replayed. The disk itself runs on.
   */
  cut(check: (folder: string) => Promise<void>): Promise<void>
}

/** The programs that `powerCutDisk` needs. */
export const powerCutPrograms = ['mount', 'umount', 'mkfs.xfs', 'mkfs.ext4', 'truncate', 'cp'] as const

/**
 * An ext4 image in a file on XFS, both mounted by loop devices: a reflink copy of the image is what the disk had
 * received by then. Unmounted by what `after` is given.
 */
export async function powerCutDisk(t: {
  readonly after: (work: () => Promise<void>) => void
}): Promise<PowerCutDisk> {
  const base = await mkdtemp(join(tmpdir(), 'larder-power-'))
  const mounted: string[] = []
  t.after(async () => {
    // The loop device of one may hold the next for a moment longer.
    for (const folder of mounted.toReversed()) await run('umount', ['--lazy', folder])
    await rm(base, { recursive: true })
  })
  const mountImage = async (image: string, folder: string): Promise<void> => {
    await mkdir(folder)
    await run('mount', ['-o', 'loop', image, folder])
    mounted.push(folder)
  }
  const carrier = join(base, 'carrier')
  await run('truncate', ['--size=600M', join(base, 'carrier.img')])
  await run('mkfs.xfs', ['-q', '-m', 'reflink=1', join(base, 'carrier.img')])
  await mountImage(join(base, 'carrier.img'), carrier)
  await run('truncate', ['--size=128M', join(carrier, 'disk.img')])
  await run('mkfs.ext4', ['-q', join(carrier, 'disk.img')])
  await mountImage(join(carrier, 'disk.img'), join(base, 'disk'))
  let cuts = 0
  return {
    folder: join(base, 'disk'),
    async cut(check) {
      cuts += 1
      const copy = join(carrier, `cut-${cuts}.img`)
      await run('cp', ['--reflink=always', join(carrier, 'disk.img'), copy])
      const folder = join(base, `cut-${cuts}`)
      await mountImage(copy, folder)
      try {
        await check(folder)
      } finally {
        await run('umount', [folder])
        mounted.pop()
        await rm(copy)
      }
    },
  }
}
