/**
 * `npm run torture`: what the tests do, for longer. `--kills 10000`, `--cuts 10000`, `--seed 7`. Exits with 1 where a
 * promise is broken.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { powerCutDisk, powerCutPrograms } from '../storage/power-cut-disk.ts'
import { reasonToSkip } from '../support/programs.ts'
import { torturedByKills } from './kills.ts'
import { torturedByPowerCuts } from './power-cuts.ts'
import { type TortureReport, tell } from './report.ts'

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '10000' },
    cuts: { type: 'string', default: '10000' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 32)) },
  },
})
const seed = Number(values.seed)
const diagnostic = (line: string): void => console.log(line)

async function torture(
  what: 'kills' | 'cuts',
  run: (options: { seed: number; count: number; onRound: (done: number) => void }) => Promise<TortureReport>,
): Promise<void> {
  const count = Number(values[what])
  if (count === 0) return
  diagnostic(`${count} ${what}, seed ${seed}`)
  const onRound = (done: number): void => {
    if (done % 300 === 0) diagnostic(`${new Date().toISOString()} ${done}`)
  }
  const report = await run({ seed, count, onRound })
  for (const problem of report.problems) console.error(problem)
  tell({ diagnostic }, report)
  if (report.problems.length > 0) process.exitCode = 1
}

const folder = await mkdtemp(join(tmpdir(), 'larder-torture-'))
await torture('kills', (options) => torturedByKills({ ...options, folder }))
await rm(folder, { recursive: true })

const reason = reasonToSkip({ programs: powerCutPrograms, root: true })
if (reason) diagnostic(`no power cuts: ${reason}`)
else {
  await using closing = new AsyncDisposableStack()
  const disk = await powerCutDisk({ after: (work) => closing.defer(work) })
  await torture('cuts', (options) => torturedByPowerCuts(disk, options))
}
