import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { buildImage } from '../support/images.ts'
import { Client, type ClientOptions } from './client.ts'
import { graceMs } from './larder.ts'
import type { Puller } from './puller.ts'
import { Random } from './random.ts'
import { Shelf } from './shelf.ts'

export interface TortureOptions {
  /** Empty. */
  readonly folder: string
  readonly seed: number
  /** Larders that are killed, or whose power is cut. */
  readonly count: number
  /** Is told how many were. */
  readonly onRound?: (done: number) => void
}

export interface TortureReport {
  readonly problems: readonly string[]
  /** Milliseconds that each start took. */
  readonly startsMs: readonly number[]
  /** What was acknowledged in all. */
  readonly counts: Client['counts'] & Puller['counts']
}

/** Clients with a repository each, which share some layers. */
export function clientsOf(random: Random, told: Pick<ClientOptions, 'onProblem' | 'onAnswered'>): Client[] {
  const layers = Array.from({ length: 12 }, (_, n) => n * 2000 + 1)
  const shared = buildImage({ layers, seed: 'shared' }).layers
  const names = ['local/one', 'local/two', 'local/three', 'local/four']
  return names.map(
    (name) =>
      new Client({
        shelf: new Shelf(name),
        random: new Random(random.below(2 ** 32)),
        graceMs,
        shared,
        others: names.filter((other) => other !== name),
        ...told,
      }),
  )
}

export function countsOf(clients: readonly Client[], pullers: readonly Puller[]): TortureReport['counts'] {
  const mirrored = pullers.reduce((all, { counts }) => all + counts.mirrored, 0)
  const sum = { pushes: 0, deletes: 0, pulls: 0, resumed: 0, refused: 0 }
  for (const { counts } of clients)
    for (const what of Object.keys(sum) as (keyof typeof sum)[]) sum[what] += counts[what]
  return { ...sum, mirrored }
}

/** Another one in each run; it is told. */
export function seedOf(t: TestContext): number {
  const seed = Math.floor(Math.random() * 2 ** 32)
  t.diagnostic(`seed ${seed}`)
  return seed
}

/** Tells what was done, and fails where that was next to nothing. */
export function tell(t: Pick<TestContext, 'diagnostic'>, report: TortureReport): void {
  const { counts, startsMs, problems } = report
  const starts = startsMs.toSorted((one, other) => one - other)
  const at = (share: number) => Math.round(starts[Math.floor((starts.length - 1) * share)] ?? 0)
  t.diagnostic(`acknowledged: ${JSON.stringify(counts)}`)
  t.diagnostic(`starts: ${starts.length}, p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${at(1)} ms`)
  for (const [what, count] of Object.entries(counts))
    if (what !== 'refused' && problems.length === 0) assert.ok(count > 0, `nothing was done of: ${what}`)
}
