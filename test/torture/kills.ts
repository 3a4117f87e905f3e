import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { brokenPromises } from './checks.ts'
import type { Client } from './client.ts'
import { Countdown } from './countdown.ts'
import { openUpstream, Puller } from './puller.ts'
import { Random } from './random.ts'
import { clientsOf, countsOf, type TortureOptions, type TortureReport } from './report.ts'
import { TortureServers } from './server.ts'

/** In one process: to load its modules is what costs most. */
const lardersAtOnce = 3
/** Of all kills: while it starts, in its first so many milliseconds. */
const duringStart = { share: 0.1, ms: 500 }
/** Answers that it lives for at most, and milliseconds behind the last one: a kill between two requests is a plain one. */
const life = { answers: 150, ms: 8 }
const enoughProblems = 5

/**
 * Kills Larders in the middle of their work, three in a process, again and again, and looks at what is there afterwards.
 * Each one has a folder and clients of its own.
 */
export async function torturedByKills(options: TortureOptions): Promise<TortureReport> {
  const { folder, seed, count, onRound } = options
  const random = new Random(seed)
  const problems: string[] = []
  const startsMs: number[] = []
  const countdown = new Countdown()
  const told = {
    onProblem: (problem: string) => problems.push(problem),
    onAnswered: countdown.answered,
  }
  await using upstream = await openUpstream(random)
  const { images } = upstream
  const larders = Array.from({ length: lardersAtOnce }, (_, n) => ({
    folder: join(folder, `${n}`),
    clients: clientsOf(random, told),
    puller: new Puller({ images, random: new Random(random.below(2 ** 32)), ...told }),
  }))
  for (const larder of larders) await mkdir(larder.folder)
  await using servers = new TortureServers(
    larders.map((larder) => larder.folder),
    upstream.hub.url,
  )
  const allClients = larders.flatMap(({ clients }) => clients)
  for (let kills = 0; kills < count && problems.length < enoughProblems; kills += lardersAtOnce) {
    onRound?.(kills)
    const killAfterMs = random.isLikely(duringStart.share) ? random.below(duringStart.ms) : undefined
    const server = await servers.start(killAfterMs)
    if (!server) continue
    if (killAfterMs === undefined) startsMs.push(server.startMs)
    const isAll = random.isLikely(0.1)
    const eachOne = <Value>(work: (client: Client, url: string) => Promise<Value>) =>
      Promise.all(
        larders.flatMap(({ clients }, n) => clients.map((client) => work(client, server.urls[n] ?? ''))),
      )
    const found = await eachOne(({ shelf }, url) =>
      brokenPromises(url, shelf, isAll ? undefined : shelf.touched),
    )
    problems.push(...found.flat())
    const enough = countdown.begin(1 + random.below(life.answers))
    const extraMs = random.next() * life.ms
    const killing = enough.then(() => sleep(extraMs)).then(() => server.kill())
    const pulling = larders.map(({ puller }, n) => puller.work(server.urls[n] ?? ''))
    await Promise.all([killing, ...pulling, eachOne((client, url) => client.work(url))])
  }
  const last = await servers.start()
  for (const [n, { clients }] of larders.entries())
    for (const { shelf } of clients) problems.push(...(await brokenPromises(last?.urls[n] ?? '', shelf)))
  const pullers = larders.map(({ puller }) => puller)
  return { problems, startsMs, counts: countsOf(allClients, pullers) }
}
