import { mkdir, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Launcher } from '../../support/programs.ts'
import { scratchFolder } from './scratch-folder.ts'

/** A file system of a test's own, for programs whose files have fixed places. Dispose to remove it. */
export type OwnRoot = AsyncDisposable & {
  /** Starts a program in it: `by` of `RunOptions`. */
  readonly by: readonly (readonly [Launcher, ...string[]])[]
}

/**
 * Whatever happens to the test, the mounts end with the program: they are in its own mount namespace. The layer that
 * is written to lies in memory; the folder for temporary files is the machine's, so that sockets can be reached.
 */
const enter = `
set -e
base=$1 files=$2 root=$3 shared=$4
shift 4
mount -t tmpfs tmpfs "$root"
mkdir "$root/upper" "$root/work" "$root/root"
mount -t overlay overlay -o "lowerdir=$base,upperdir=$root/upper,workdir=$root/work" "$root/root"
cd "$root/root"
if [ "$base" = / ]; then
  # What is mounted below / is no part of the overlay. /run stays apart: engines of the machine have their sockets there.
  while read -r _ point _; do
    case $point in / | /proc* | /sys* | /dev* | /run* | /etc* | "$shared"*) continue ;; esac
    if [ -d "$point" ]; then mount --rbind "$point" ".$point"; fi
  done < /proc/mounts
fi
cp -a "$files/." .
for folder in proc sys dev; do mount --rbind "/$folder" "$folder"; done
mkdir -p ".$shared"
mount --bind "$shared" ".$shared"
pivot_root . .
umount -l .
cd /
program=$1
shift
# The path is that of this machine, and another release may have the program elsewhere.
[ "$base" = / ] || program=\${program##*/}
exec "$program" "$@"
`

/**
 * Makes a file system that looks like `base` (this machine's own unless set) with some files more, or other ones:
 * their content by their path.
 */
export async function ownRoot({
  base = '/',
  files,
}: {
  base?: string
  files: Readonly<Record<string, string>>
}): Promise<OwnRoot> {
  await using building = new AsyncDisposableStack()
  const { path: folder } = building.use(await scratchFolder())
  const [added, root] = [join(folder, 'files'), join(folder, 'root')]
  await mkdir(added)
  await mkdir(root)
  for (const [path, content] of Object.entries(files)) {
    const file = join(added, path)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, content)
  }
  const parts = building.move()
  return {
    by: [
      ['unshare', '--mount'],
      ['sh', '-c', enter, 'sh', base, added, root, tmpdir()],
    ],
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  }
}
