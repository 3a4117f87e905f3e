import { readdirSync, statSync } from 'node:fs'

/** What a process may have open at a time: files, sockets and what the kernel counts like them. */
export interface Descriptors {
  /** How many it may have. */
  readonly limit: number
  /** How many it has. */
  open(): number
}

/** Those of this process (`ulimit -n`, systemd's `LimitNOFILE`). Node itself raises the soft limit to the hard one. */
export function processDescriptors(): Descriptors {
  return { limit: ownLimit(), open: countOpen }
}

function ownLimit(): number {
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
