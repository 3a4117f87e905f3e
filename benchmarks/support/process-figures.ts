import { readdir, readFile, readlink, writeFile } from 'node:fs/promises'

/** Seconds of processor time of a process and all its threads. */
export interface CpuTime {
  readonly user: number
  readonly system: number
}

/** Of `/proc/<pid>/stat`; Linux has no other value. */
const ticksPerSecond = 100

/** Rejects where the process is gone. */
export async function cpuTimeOf(pid: number): Promise<CpuTime> {
  const fields = await statOf(pid)
  return { user: Number(fields[11]) / ticksPerSecond, system: Number(fields[12]) / ticksPerSecond }
}

/** The bytes of memory that a process holds (`now`), and the most that it ever held since the last reset. */
export async function memoryOf(pid: number): Promise<{ now: number; peak: number }> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const read = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024
  return { now: read('VmRSS'), peak: read('VmHWM') }
}

/** From now on the peak is counted anew (proc(5), `clear_refs`). */
export async function resetPeakOf(pid: number): Promise<void> {
  await writeFile(`/proc/${pid}/clear_refs`, '5')
}

/** Which process listens on a TCP port of 127.0.0.1: `pid` or one that it has started. Throws where none does. */
export async function listenerOf(port: number, pid: number): Promise<number> {
  const local = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`
  const table = (await readFile('/proc/net/tcp', 'latin1'))
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
  // The state 0A is LISTEN.
  const inode = table.find((fields) => fields[1] === local && fields[3] === '0A')?.[9]
  for (const one of await familyOf(pid)) {
    if (await holds(one, `socket:[${inode}]`)) return one
  }
  throw new Error(`no process of ${pid} listens on port ${port}`)
}

/** A process and everything that descends from it. */
async function familyOf(pid: number): Promise<number[]> {
  const parents = new Map<number, number>()
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue
    // It may have ended meanwhile.
    const fields = await statOf(Number(name)).catch(() => [])
    parents.set(Number(name), Number(fields[1]))
  }
  const family = [pid]
  for (const member of family) {
    for (const [child, parent] of parents) if (parent === member) family.push(child)
  }
  return family
}

async function holds(pid: number, target: string): Promise<boolean> {
  const folder = `/proc/${pid}/fd`
  const descriptors = await readdir(folder).catch(() => [])
  const targets = await Promise.all(descriptors.map((name) => readlink(`${folder}/${name}`).catch(() => '')))
  return targets.includes(target)
}

/** The fields from the third on: the name in parentheses before them may hold anything. */
async function statOf(pid: number): Promise<string[]> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
}
