/**
 * `npm run simulate`: fills of blobs in a world that a seed decides. `--seeds 100000`, from a seed that differs each time
 * or `--from 7` on; `--seed 123` plays one alone and tells each step. Exits with 1 where an invariant is broken.
 */
import { parseArgs } from 'node:util'
import { playSeeds } from './fleet.ts'
import { playSeed } from './simulate.ts'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '100000' },
    from: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    seed: { type: 'string' },
  },
})

/** Failures after which it ends. */
const enough = 20

async function playOne(seed: number): Promise<void> {
  const { problems, events } = await playSeed(seed, (line) => console.log(line))
  console.log(`seed ${seed}: ${events} events, ${problems.length} problems`)
  for (const problem of problems) console.error(problem)
  if (problems.length > 0) process.exitCode = 1
}

async function playAll(from: number, seeds: number): Promise<void> {
  const startedAt = performance.now()
  let [played, events, toldAt] = [0, 0, 0]
  console.log(`${seeds} seeds from ${from} on`)
  const failures = await playSeeds({
    from,
    seeds,
    enough,
    onShare: (share) => {
      played += share.count
      events += share.events
      for (const { seed, problems } of share.failures) {
        console.error(`seed ${seed} (npm run simulate -- --seed ${seed}):`)
        for (const problem of problems) console.error(`  ${problem}`)
      }
      if (played - toldAt < 10_000) return
      toldAt = played
      console.log(`${new Date().toISOString()} ${played}`)
    },
  })
  const seconds = (performance.now() - startedAt) / 1000
  console.log(`${played} seeds, ${events} events, ${failures.length} failures in ${seconds.toFixed(1)} s`)
  if (failures.length > 0) process.exitCode = 1
}

if (values.seed !== undefined) await playOne(Number(values.seed))
else await playAll(Number(values.from), Number(values.seeds))
