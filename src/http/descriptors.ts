import { readdirSync, readFileSync, statSync } from 'node:fs'

/** What a process may have open at a time: files, sockets and what the kernel counts like them. */
export interface Descriptors {
  /** How many it may have. */
  readonly limit: number
  /** How many it has. */
  open(): number
}

/** With fewer left than so many somebody may notice, and wants to know; what nobody has asked for yet takes none of them. */
export const ample = 500

/** Those of this process (`ulimit -n`, systemd's `LimitNOFILE`). Node itself raises the soft limit to the hard one. */
export function processDescriptors(): Descriptors {
  return { limit: ownLimit(), open: countOpen }
}

function ownLimit(): number {
  return limitByKernel() ?? limitByReport()
}

/** Linux, at once. */
function limitByKernel(): number | undefined {
  try {
    const [, soft] = /^Max open files +(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
    return soft === 'unlimited' ? Number.POSITIVE_INFINITY : soft === undefined ? undefined : Number(soft)
  } catch {
    return undefined
  }
}

/** Every system; to make the report takes tens of milliseconds, more with each thread. */
function limitByReport(): number {
  // The report names all addresses that there are connections to, unless it is told not to; @types/node lacks it.
  const report = process.report as typeof process.report & { excludeNetwork: boolean }
  const { excludeNetwork } = report
  report.excludeNetwork = true
  try {
    const { userLimits } = report.getReport() as { userLimits?: { open_files?: { soft: unknown } } }
    const soft = userLimits?.open_files?.soft
    return typeof soft === 'number' ? soft : Number.POSITIVE_INFINITY
  } finally {
    report.excludeNetwork = excludeNetwork
  }
}

/** As far as the system tells; where there is not one more to look with, it cannot. */
function countOpen(): number {
  try {
    // Linux tells it by the size of the folder since 6.2, before that it is 0.
    const { size } = statSync('/proc/self/fd')
    return size > 0 ? size : readdirSync('/proc/self/fd').length - 1
  } catch {
    return countByDevice()
  }
}

/** macOS and the BSDs. */
function countByDevice(): number {
  try {
    return readdirSync('/dev/fd').length - 1
  } catch {
    return 0
  }
}
