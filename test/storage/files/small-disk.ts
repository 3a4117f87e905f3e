import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { run } from '../../support/child-process.ts'

/** What `smallDisk` needs of the machine. */
export const smallDiskNeeds = { programs: ['mount', 'umount'], root: true } as const

/** A file system in memory with mount options such as size=3m, unmounted after the test. */
export async function smallDisk(t: TestContext, options: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'larder-disk-'))
  await run('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder])
  t.after(async () => {
    await run('umount', ['--lazy', folder])
    await rm(folder, { recursive: true })
  })
  return folder
}

/** What `smallExt4` needs of the machine. */
export const smallExt4Needs = { programs: ['mount', 'umount', 'mkfs.ext4', 'truncate'], root: true } as const

/** An ext4 file system of so many mebibytes in a file, mounted by a loop device, and unmounted after the test. */
export function smallExt4(t: TestContext, mebibytes: number): Promise<string> {
  return smallImage(t, 'mkfs.ext4', mebibytes)
}

/** What `smallBtrfs` needs of the machine. */
export const smallBtrfsNeeds = {
  programs: ['mount', 'umount', 'mkfs.btrfs', 'truncate'],
  root: true,
} as const

/** As `smallExt4`; btrfs takes no fewer than 109. */
export function smallBtrfs(t: TestContext, mebibytes: number): Promise<string> {
  return smallImage(t, 'mkfs.btrfs', mebibytes)
}

/** What `smallXfs` needs of the machine. */
export const smallXfsNeeds = { programs: ['mount', 'umount', 'mkfs.xfs', 'truncate'], root: true } as const

/** As `smallExt4`; xfs takes no fewer than 300. */
export function smallXfs(t: TestContext, mebibytes: number): Promise<string> {
  return smallImage(t, 'mkfs.xfs', mebibytes)
}

async function smallImage(
  t: TestContext,
  make: 'mkfs.ext4' | 'mkfs.btrfs' | 'mkfs.xfs',
  mebibytes: number,
): Promise<string> {
  const base = await mkdtemp(join(tmpdir(), 'larder-disk-'))
  const [image, folder] = [join(base, 'disk.img'), join(base, 'disk')]
  let isMounted = false
  t.after(async () => {
    if (isMounted) await run('umount', ['--lazy', folder])
    await rm(base, { recursive: true })
  })
  await mkdir(folder)
  await run('truncate', [`--size=${mebibytes}M`, image])
  await run(make, ['-q', image])
  await run('mount', ['-o', 'loop', image, folder])
  isMounted = true
  return folder
}
