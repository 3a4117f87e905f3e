import type { Fault } from '../support/hub-faults.ts'
import { Random } from './random.ts'

const [kibibyte, mebibyte] = [1024, 1024 * 1024]
/** Bytes of the largest blob. */
export const largest = 64 * mebibyte
/** Bytes at which somebody may do something else: what is verified first, a chunk, a small and a large piece, what is held. */
const edges = [
  ...[64 * kibibyte, 128 * kibibyte, 256 * kibibyte, 512 * kibibyte],
  ...[mebibyte, 1.5 * mebibyte, 2 * mebibyte, 4 * mebibyte, 8 * mebibyte],
]
const kinds = [
  ...(['reset', 'close', 'reset', 'close', 'short', 'long', 'unavailable'] as const),
  ...(['wrong', 'ignored range', 'stall'] as const),
]

/** What goes wrong with one answer of the upstream. */
export type PullFaultKind = (typeof kinds)[number]

export interface PullFault {
  readonly kind: PullFaultKind
  readonly fault: Fault
}

/** How a client behaves; positions are those of the blob. */
export type ClientPlan =
  /** Takes all; `waitsAt`: takes nothing more from there on until all the others are done. */
  | { readonly kind: 'whole'; readonly joinsAt: number; readonly waitsAt?: number }
  | { readonly kind: 'leaving'; readonly joinsAt: number; readonly leavesAt: number }
  /** `end`: inclusive. */
  | { readonly kind: 'range'; readonly joinsAt: number; readonly start: number; readonly end: number }

/** How the upstream is reached: in the open, over TLS, over TLS through the tunnel of a proxy. */
export type PullLine = 'plain' | 'TLS' | 'tunnel'

/** A blob, what its upstream does wrong, and who pulls it. */
export interface PullPlan {
  readonly size: number
  readonly seed: string
  readonly line: PullLine
  readonly isChunked: boolean
  /** Whether a manifest tells its size before it is pulled. */
  readonly hasManifest: boolean
  readonly bytesPerSecond: number | undefined
  /** Of one answer after the other. */
  readonly faults: readonly PullFault[]
  readonly clients: readonly ClientPlan[]
}

/** The `index`-th pull of a seed: the same one whatever came before it. */
export function planOf(seed: number, index: number): PullPlan {
  const random = new Random(Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b))
  const size = sizeOf(random)
  const faults = Array.from({ length: size > 0 ? random.below(4) : 0 }, () => faultOf(random, size))
  return {
    size,
    seed: `${seed}/${index}`,
    line: random.oneOf(['plain', 'plain', 'TLS', 'tunnel']),
    isChunked: random.isLikely(0.25),
    hasManifest: random.isLikely(0.8),
    bytesPerSecond: random.isLikely(0.3) ? Math.max(mebibyte, size) * (2 + random.below(8)) : undefined,
    faults: faults.filter(
      ({ kind }, at) => kind !== 'wrong' || faults.findIndex((one) => one.kind === 'wrong') === at,
    ),
    clients: clientsOf(random, size),
  }
}

/** Whether clients may be cut, and have to ask again: bytes are wrong, or a body without a length goes on behind its end. */
export function mayBeWrong({ faults, isChunked }: PullPlan): boolean {
  return faults.some(({ kind }) => kind === 'wrong' || (kind === 'long' && isChunked))
}

/** Bytes that may cross the line twice: those of wrong bodies, and what was in flight at a cut. */
export function refetchable({ faults, isChunked, size, line }: PullPlan): number {
  const inFlight = line === 'plain' ? 64 * kibibyte : 512 * kibibyte
  return faults.reduce((sum, { kind, fault }) => {
    const isWhole = kind === 'wrong' || kind === 'ignored range' || (kind === 'long' && isChunked)
    return sum + inFlight + (isWhole ? size : 0) + (fault.longerBy ?? 0)
  }, 0)
}

/** Bytes: near one of the edges, or any number, small ones more often. */
function sizeOf(random: Random): number {
  const chance = random.next()
  if (chance < 0.05) return random.below(2)
  if (chance < 0.4) return random.oneOf(edges) + random.below(3) - 1
  if (chance < 0.5) return random.below(largest + 1)
  return Math.floor(largest ** random.next())
}

function faultOf(random: Random, size: number): PullFault {
  const kind = random.oneOf(kinds)
  const at = random.below(size)
  const faults: Record<PullFaultKind, Fault> = {
    reset: { cutAfter: at, cutWith: 'rst' },
    close: { cutAfter: at, cutWith: 'fin' },
    stall: { stallAfter: at },
    short: { shortBy: 1 + random.below(size) },
    long: { longerBy: 1 + random.below(100_000) },
    wrong: { flipAt: at },
    unavailable: { status: 503 },
    'ignored range': { ignoreRange: true },
  }
  return { kind, fault: faults[kind] }
}

function clientsOf(random: Random, size: number): ClientPlan[] {
  return Array.from({ length: 1 + random.below(5) }, (): ClientPlan => {
    const joinsAt = random.isLikely(0.4) ? random.below(size + 1) : 0
    const chance = random.next()
    if (size > 0 && chance < 0.2) return { kind: 'leaving', joinsAt, leavesAt: 1 + random.below(size) }
    if (size > 0 && chance < 0.45) {
      const start = random.below(size)
      return { kind: 'range', joinsAt, start, end: start + random.below(size - start) }
    }
    return { kind: 'whole', joinsAt, ...(chance > 0.8 && { waitsAt: random.below(size + 1) }) }
  })
}
