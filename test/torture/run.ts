/**
 * `npm run torture`: what the tests do, for longer. `--pulls 1000`, `--kills 10000`, `--cuts 10000`, `--seed 7`;
 * `--pull 123` is one of the pulls of a seed alone. Exits with 1 where a promise is broken.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { powerCutDisk, powerCutPrograms } from '../storage/power-cut-disk.ts'
import { reasonToSkip } from '../support/programs.ts'
import { tellDownloads, torturedByDownloadKills } from './download-kills.ts'
import { torturedByKills } from './kills.ts'
import { torturedByPowerCuts } from './power-cuts.ts'
import { tellPulls } from './pull-report.ts'
import { torturedByPulls } from './pulls.ts'
import { type TortureReport, tell } from './report.ts'

const { values } = parseArgs({
  options: {
    pulls: { type: 'string', default: '1000' },
    pull: { type: 'string' },
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
  tell({ diagnostic }, report)
  tellProblems(report)
}

function tellProblems({ problems }: { readonly problems: readonly string[] }): void {
  for (const problem of problems) console.error(problem)
  if (problems.length > 0) process.exitCode = 1
}

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'larder-torture-'))
  await work(folder)
  await rm(folder, { recursive: true })
}

const first = values.pull === undefined ? 0 : Number(values.pull)
const pulls = values.pull === undefined ? Number(values.pulls) : 1
for (const cache of ['ample', 'tight'] as const) {
  if (pulls === 0) continue
  diagnostic(`${pulls} pulls in a cache that is ${cache}, seed ${seed}`)
  await inFolder(async (folder) => {
    const report = await torturedByPulls({ folder, seed, count: pulls, first, cache })
    tellPulls({ diagnostic }, report)
    tellProblems(report)
  })
}
await inFolder((folder) => torture('kills', (options) => torturedByKills({ ...options, folder })))
await inFolder(async (folder) => {
  const count = Number(values.kills)
  if (count === 0) return
  diagnostic(`${count} kills of downloads, seed ${seed}`)
  const report = await torturedByDownloadKills({ folder, seed, count })
  tellDownloads({ diagnostic }, report)
  tellProblems(report)
})

const reason = reasonToSkip({ programs: powerCutPrograms, root: true })
if (reason) diagnostic(`no power cuts: ${reason}`)
else {
  await using closing = new AsyncDisposableStack()
  const disk = await powerCutDisk({ after: (work) => closing.defer(work) })
  await torture('cuts', (options) => torturedByPowerCuts(disk, options))
}
