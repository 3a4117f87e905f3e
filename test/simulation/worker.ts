// A process that plays the seeds that it is sent, and says which of them fail.
import type { Share, ShareResult } from './fleet.ts'
import { playSeed } from './simulate.ts'

process.on('message', async ({ from, count }: Share) => {
  const failures: ShareResult['failures'][number][] = []
  let events = 0
  for (let seed = from; seed < from + count; seed += 1) {
    const played = await playSeed(seed)
    events += played.events
    if (played.problems.length > 0) failures.push({ seed, problems: played.problems })
  }
  process.send?.({ from, count, events, failures } satisfies ShareResult)
})
