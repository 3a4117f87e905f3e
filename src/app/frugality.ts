import type { Config } from '../config/config.ts'
import { ample, type Descriptors } from '../http/descriptors.ts'

/** Of those that are left, one connection to storage may be had for so many. */
const perConnection = 8

export interface Frugality {
  readonly config: Config
  /** Whether connections may be opened before they are needed. */
  readonly opensEarly: boolean
}

/**
 * The configuration as far as the descriptors of this process go: where they are few, those that clients need come first, and
 * nothing is fetched or connected to before it is asked for (docs/decisions/0039-descriptors-are-shared-out.md).
 */
export function frugality(config: Config, { limit, open }: Descriptors): Frugality {
  const left = limit - open()
  if (left >= ample) return { config, opensEarly: true }
  const affordable = Math.max(1, Math.floor(left / perConnection))
  const { cache, limits } = config
  return {
    config: {
      ...config,
      cache: { ...cache, readAhead: 0 },
      limits: { ...limits, connections: Math.min(limits.connections, affordable) },
    },
    opensEarly: false,
  }
}
