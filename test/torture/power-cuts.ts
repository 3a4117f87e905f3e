import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { PowerCutDisk } from '../storage/power-cut-disk.ts'
import { brokenPromises } from './checks.ts'
import { Countdown } from './countdown.ts'
import { busyCache, openLarder } from './larder.ts'
import { openUpstream, Puller } from './puller.ts'
import { Random } from './random.ts'
import { clientsOf, countsOf, type TortureOptions, type TortureReport } from './report.ts'
import { TortureServers } from './server.ts'

/** Answers between two cuts, at most. */
const answersBetween = 20
const enoughProblems = 5

/**
 * Cuts the power of the disk on which a Larder works, again and again, and looks at what the next one finds there. The
 * first one never notices.
 */
export async function torturedByPowerCuts(
  disk: PowerCutDisk,
  { seed, count, onRound }: Omit<TortureOptions, 'folder'>,
): Promise<TortureReport> {
  const random = new Random(seed)
  const problems: string[] = []
  const startsMs: number[] = []
  const countdown = new Countdown()
  const told = {
    onProblem: (problem: string) => problems.push(problem),
    onAnswered: countdown.answered,
  }
  const clients = clientsOf(random, told)
  await using upstream = await openUpstream(random)
  const { images, hub } = upstream
  const puller = new Puller({ images, random: new Random(random.below(2 ** 32)), ...told })
  const folder = join(disk.folder, 'larder')
  await mkdir(folder)
  await using servers = new TortureServers([folder], hub.url)
  const server = await servers.start()
  let isOver = false
  let mayWork = Promise.withResolvers<void>()
  mayWork.resolve()
  const goesOn = async () => {
    await mayWork.promise
    return !isOver
  }
  const working = [...clients, puller].map((client) => client.work(server?.urls[0] ?? '', goesOn))
  try {
    for (let cuts = 0; cuts < count && problems.length < enoughProblems; cuts += 1) {
      onRound?.(cuts)
      const enough = countdown.begin(1 + random.below(answersBetween))
      await Promise.race([enough, Promise.all(working)])
      // What lay there at the last cut was on the disk then; some of it is looked at all the same.
      const isAll = random.isLikely(0.1)
      const promised = clients.map(({ shelf }) => ({
        shelf: shelf.copy(),
        only: isAll ? undefined : new Set(shelf.touched),
      }))
      for (const { shelf } of clients) shelf.touched.clear()
      await disk.cut(async (cutFolder) => {
        mayWork = Promise.withResolvers()
        // What was begun after that may have come to the disk before the cut, or not.
        for (const [n, { shelf }] of promised.entries()) shelf.forget(clients[n]?.shelf.touched ?? new Set())
        await forgetBoot(join(cutFolder, 'larder', 'partial'))
        const startedAt = performance.now()
        await using larder = await openLarder(join(cutFolder, 'larder'), {
          upstream: hub.url,
          config: busyCache,
        })
        startsMs.push(performance.now() - startedAt)
        const url = `http://127.0.0.1:${larder.port}`
        const found = await Promise.all(promised.map(({ shelf, only }) => brokenPromises(url, shelf, only)))
        problems.push(...found.flat().map((problem) => `after cut ${cuts}: ${problem}`))
      })
      mayWork.resolve()
    }
  } finally {
    isOver = true
    mayWork.resolve()
    await Promise.all(working)
  }
  return { problems, startsMs, counts: countsOf(clients, [puller]) }
}

/** After a cut of the power there is another boot, and here it is the same one: nothing may be taken for written under it. */
async function forgetBoot(partials: string): Promise<void> {
  // A cut may have come before the folder was on the disk.
  const names = await readdir(partials).catch(() => [])
  for (const path of names.filter((name) => name.endsWith('.journal')).map((name) => join(partials, name))) {
    const lines = (await readFile(path, 'utf8')).split('\n')
    await writeFile(path, lines.filter((line) => !line.startsWith('boot ')).join('\n'))
  }
}
