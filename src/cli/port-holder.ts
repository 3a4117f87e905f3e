import { readdir, readFile, readlink } from 'node:fs/promises'

const listening = '0A'
const longestCommand = 100

/**
 * Names the process that listens on a TCP port: `process 4711 (nginx -g ...)`. Undefined where that cannot be told:
 * elsewhere than on Linux, and for other users' processes unless root asks.
 */
export async function portHolder(port: number): Promise<string | undefined> {
  const inodes = new Set<string>()
  for (const table of ['tcp', 'tcp6']) {
    const lines = (await readFile(`/proc/net/${table}`, 'utf8').catch(() => '')).split('\n')
    for (const line of lines) {
      const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/)
      if (state === listening && Number.parseInt(local.split(':').at(-1) ?? '', 16) === port)
        inodes.add(`socket:[${inode}]`)
    }
  }
  if (inodes.size === 0) return undefined
  for (const process of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    if (await hasOpen(process, inodes)) return `process ${process}${await commandOf(process)}`
  }
  return undefined
}

/** Processes come and go, and others' are not ours to look into: both count as no. */
async function hasOpen(process: string, inodes: ReadonlySet<string>): Promise<boolean> {
  const descriptors = await readdir(`/proc/${process}/fd`).catch(() => [])
  for (const descriptor of descriptors) {
    const target = await readlink(`/proc/${process}/fd/${descriptor}`).catch(() => '')
    if (inodes.has(target)) return true
  }
  return false
}

/** The program and its first parameter: later ones may hold secrets. */
async function commandOf(process: string): Promise<string> {
  const text = await readFile(`/proc/${process}/cmdline`, 'utf8').catch(() => '')
  const [program = '', first = ''] = text.split('\0')
  const command = `${program} ${first}`.trim().replaceAll(/[\p{Cc}\p{Cf}]/gu, '?')
  return command === '' ? '' : ` (${command.slice(0, longestCommand)})`
}
