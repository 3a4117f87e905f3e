import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { Random } from '../torture/random.ts'

/** What a seed has drawn: who is there and what happens. What each upstream answers is drawn when it is asked. */
export interface Scenario {
  readonly seed: number
  readonly blobs: readonly SimBlob[]
  readonly upstreams: readonly UpstreamCharacter[]
  readonly clients: readonly ClientPlan[]
  readonly pushes: readonly PushPlan[]
  /** Events of the world after which the process ends: in the order in which they come. */
  readonly ends: readonly ProcessEnd[]
  readonly disk: DiskPlan
  readonly options: ProcessOptions
}

export interface SimBlob {
  readonly name: string
  readonly digest: Digest
  readonly bytes: Buffer
}

/** How an upstream is, in probabilities of what an answer of it is like. */
export interface UpstreamCharacter {
  readonly name: string
  /** Milliseconds from a question to its answer, at least. */
  readonly roundTripMs: number
  /** Bytes per millisecond of the line, and of one connection. */
  readonly lineRate: number
  readonly connectionRate: number
  /** Bytes that it sends at a time, at most. */
  readonly pieceSize: number
  /** Answers that may be bad; behind them all are good. */
  readonly faults: number
  readonly faultRate: number
  /** What its bad answers are. */
  readonly kinds: readonly AnswerKind[]
  /** What all its answers are beside that. */
  readonly habits: readonly Habit[]
  /** Connections that it lets be open at a time; more are refused. */
  readonly connections: number
}

/** The bad answers of upstreams. */
export const answerKinds = [
  'cut',
  'ends early',
  'stalls',
  'silent',
  'slow headers',
  'corrupts',
  'starts later',
  'starts earlier',
  'sends less',
  'sends more',
  'says less',
  'says more',
  'says nothing of its size',
  'sends all',
  'rate limited',
  'rate limited for ages',
  'out of order',
  'expired',
  'unreachable',
  'odd',
  'absent',
  'trickles',
  'goes on',
] as const
export type AnswerKind = (typeof answerKinds)[number]

/** What an upstream does each time. */
const habits = ['ignores ranges', 'tells no size', 'ignores ends', 'tells no end'] as const
export type Habit = (typeof habits)[number]

export interface ClientPlan {
  readonly name: string
  /** Several plans may be of one address. */
  readonly address: string
  readonly blob: number
  readonly upstream: number
  readonly comesMs: number
  /** Bytes that its descriptor says more than the blob has; undefined: it has none. */
  readonly claim: number | undefined
  /** Parts of the blob, from 0 to 1; an end of undefined is the blob's. */
  readonly range: { readonly start: number; readonly end: number | undefined } | undefined
  /** Bytes per millisecond that it takes; undefined: all at once. */
  readonly rate: number | undefined
  /** It takes nothing for so long, once it has had the first bytes. */
  readonly pauseMs: number
  /** It leaves after so many milliseconds; undefined: it stays. */
  readonly leavesMs: number | undefined
}

export interface PushPlan {
  readonly blob: number
  readonly comesMs: number
}

export interface ProcessEnd {
  /** Events after the start of the process. */
  readonly afterEvents: number
  /** crash: it is killed; stop: it ends in good order. */
  readonly how: 'crash' | 'stop'
}

export interface DiskPlan {
  /** Milliseconds of a step, at most. */
  readonly stepMs: number
  /** Bytes; undefined: enough. */
  readonly room: number | undefined
  /** The ordinals of steps that fail. */
  readonly fails: ReadonlySet<number>
}

export interface ProcessOptions {
  /** Sizes and times of a fetch: small ones, so that a seed costs little. */
  readonly fetching: {
    readonly firstSpan: number
    readonly firstSpanOfLongWay: number
    readonly smallestSpan: number
    readonly spanMs: number
    readonly smallBlob: number
  }
  /** The part of a blob that has to be here for it to go on when all clients have left. */
  readonly finishFrom: number
  readonly connections: number
  readonly downloads: number
  /** Bytes per second of all upstream traffic; undefined: unbounded. */
  readonly rate: number | undefined
  readonly retries: number
  readonly slowMs: number
  readonly patienceMs: number
  readonly turnMs: number
  readonly clientFills: number | undefined
  readonly abandonedFills: number
}

/** Random bytes of which blobs are parts: to make them anew for each seed would take most of its time. */
const source = randomBytes(2 * 1024 * 1024)
const sizes = [
  () => 0,
  (random: Random) => 1 + random.below(2000),
  (random: Random) => 65_000 + random.below(1200),
  (random: Random) => 66_000 + random.below(100_000),
  (random: Random) => 100_000 + random.below(300_000),
]

/** Draws what happens in a seed. */
export function drawScenario(seed: number): Scenario {
  const random = new Random(Math.imul(seed, 0x9e3779b1) ^ 0x51ed270b)
  const maybe = <Value>(probability: number, value: () => Value): Value | undefined =>
    random.isLikely(probability) ? value() : undefined
  const blobs = Array.from({ length: random.oneOf([1, 1, 1, 2, 3]) }, (_, n) => blobOf(random, n))
  const upstreams = Array.from({ length: random.oneOf([1, 1, 2]) }, (_, n) => characterOf(random, n))
  const isClean = random.isLikely(0.3)
  const clients = Array.from({ length: 1 + random.below(random.oneOf([1, 3, 7])) }, (_, n) =>
    clientOf(random, n, { blobs: blobs.length, upstreams: upstreams.length, isClean }),
  )
  const pushes = maybe(0.1, () => ({ blob: random.below(blobs.length), comesMs: timeOf(random) }))
  const ends = Array.from({ length: random.oneOf([0, 0, 0, 1, 1, 2, 4]) }, () => ({
    afterEvents: random.below(random.oneOf([10, 60, 300])),
    how: random.oneOf(['crash', 'crash', 'stop'] as const),
  }))
  const isDiskBad = !isClean && random.isLikely(0.2)
  const total = blobs.reduce((sum, { bytes }) => sum + bytes.length, 0)
  const disk = {
    stepMs: random.oneOf([0, 0.1, 1, 30]),
    room: maybe(isDiskBad ? 0.4 : 0, () => random.below(Math.max(1, total))),
    fails: new Set(isDiskBad ? Array.from({ length: random.below(4) }, () => random.below(60)) : []),
  }
  return {
    seed,
    blobs,
    upstreams,
    clients,
    pushes: pushes ? [pushes] : [],
    ends,
    disk,
    options: {
      fetching: {
        firstSpan: random.oneOf([16_384, 65_536, 4 * 1024 * 1024]),
        firstSpanOfLongWay: 8192,
        smallestSpan: random.oneOf([2000, 8192]),
        spanMs: random.oneOf([50, 2000]),
        smallBlob: random.oneOf([0, 100_000]),
      },
      finishFrom: random.oneOf([0, 0, 0, 0.5, 2]),
      connections: random.oneOf([1, 2, 3, 8, 8, 32]),
      downloads: random.oneOf([1, 2, 3, 8]),
      rate: maybe(0.1, () => random.oneOf([20_000, 200_000, 2_000_000])),
      retries: random.oneOf([1, 3, 8]),
      slowMs: random.oneOf([50, 3000]),
      patienceMs: random.oneOf([100, 5000]),
      turnMs: random.oneOf([200, 15_000]),
      clientFills: maybe(0.2, () => 1 + random.below(3)),
      abandonedFills: random.oneOf([0, 1, 64]),
    },
  }
}

function blobOf(random: Random, n: number): SimBlob {
  const size = random.oneOf(sizes)(random)
  const start = random.below(source.length - size)
  const bytes = source.subarray(start, start + size)
  return { name: `blob ${n}`, digest: digestOf(bytes), bytes }
}

function characterOf(random: Random, n: number): UpstreamCharacter {
  const isGood = random.isLikely(0.15)
  const isCapped = random.isLikely(0.4)
  const lineRate = random.oneOf([20, 100, 1000])
  return {
    name: ['docker.io', 'quay.io'][n] ?? `upstream-${n}`,
    roundTripMs: random.oneOf([1, 20, 200]),
    lineRate,
    connectionRate: isCapped ? lineRate / random.oneOf([2, 8]) : lineRate,
    pieceSize: random.oneOf([5000, 16_384, 60_000]),
    faults: isGood ? 0 : random.oneOf([1, 3, 10, 50]),
    faultRate: random.oneOf([0.1, 0.5, 1]),
    kinds: random.isLikely(0.5) ? answerKinds : [random.oneOf(answerKinds), random.oneOf(answerKinds)],
    habits: isGood ? [] : habits.filter(() => random.isLikely(0.12)),
    connections: random.oneOf([1, 4, 100, 100]),
  }
}

function clientOf(
  random: Random,
  n: number,
  { blobs, upstreams, isClean }: { blobs: number; upstreams: number; isClean: boolean },
): ClientPlan {
  const isPart = random.isLikely(0.3)
  const start = random.oneOf([0, 0.5, random.next(), 0.99])
  const end = random.isLikely(0.5) ? Math.min(1, start + random.next()) : undefined
  return {
    name: `client ${n}`,
    address: `10.0.0.${random.below(3)}`,
    blob: random.below(blobs),
    upstream: random.below(upstreams),
    comesMs: timeOf(random),
    claim: random.isLikely(0.7) ? 0 : isClean || random.isLikely(0.5) ? undefined : random.oneOf([-3, 3]),
    range: isPart ? { start, end } : undefined,
    rate: random.isLikely(0.3) ? random.oneOf([0.5, 5, 50]) : undefined,
    pauseMs: random.isLikely(0.1) ? random.below(200_000) : 0,
    leavesMs: random.isLikely(0.25) ? timeOf(random) : undefined,
  }
}

/** Milliseconds: many things happen at the beginning, and some late. */
function timeOf(random: Random): number {
  return random.next() * random.oneOf([0, 5, 500, 5000, 60_000])
}

function randomBytes(size: number): Buffer {
  const random = new Random(1)
  const bytes = Buffer.alloc(size)
  for (let at = 0; at < size; at += 4) bytes.writeUInt32LE(random.below(2 ** 32), at)
  return bytes
}
