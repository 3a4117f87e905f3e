import { setTimeout as sleep } from 'node:timers/promises'
import type { ImageSummary } from '../support/hub-control.ts'
import type { HubProcess } from '../support/hub-process.ts'
import { showMultiple, showSeconds, showSize } from '../support/units.ts'
import type { Display } from './display.ts'
import { manifestStatus } from './pull.ts'
import { bytesOf, playScene } from './scene.ts'

/** What all acts are played with. */
export interface Stage {
  /** Of the mirror, without a slash at the end. */
  readonly mirror: string
  /** The registry behind the mirror. */
  readonly hub: HubProcess
  /** The same one again behind a line of its own, for those who have no mirror. */
  readonly bareHub: HubProcess
  readonly image: ImageSummary
  /** That nobody has pulled before the second act. */
  readonly secondImage: ImageSummary
  readonly machines: number
  readonly display: Display
  readonly signal: AbortSignal
}

/** Milliseconds for which the line is cut. */
export const outageMs = 3000

/** All machines pull at once, with Larder and without, and then once more. Returns what there is to say about it. */
export async function pullTogether(stage: Stage): Promise<string> {
  const { mirror, hub, bareHub, image, machines } = stage
  const lanes = [
    { name: 'without Larder', base: bareHub.url, hub: bareHub },
    { name: 'with Larder', base: mirror, hub },
  ]
  const [without, cold] = await playScene({ ...stage, lanes })
  const [cached] = await playScene({
    ...stage,
    lanes: [{ ...lanes[1], name: 'once more' } as (typeof lanes)[0]],
  })
  if (!without || !cold || !cached) throw new Error('a lane has no result')
  const size = bytesOf(image)
  return `${machines} machines pulled ${showSize(size)} each: without Larder ${showSize(without.lineBytes)} crossed the line, and it took ${showSeconds(without.totalMs)}; with Larder ${showSize(cold.lineBytes)} and ${showSeconds(cold.totalMs)}. Once more, now that it is here: ${showSize(cached.lineBytes)} and ${showSeconds(cached.totalMs)}.`
}

/** The line is cut while they pull something new. */
export async function pullThePlug(stage: Stage): Promise<string> {
  const { mirror, hub, secondImage: image, machines } = stage
  const [result] = await playScene({
    ...stage,
    image,
    lanes: [{ name: 'with Larder', base: mirror, hub }],
    async meanwhile({ served, say, signal }) {
      while (served() < 0.5) await sleep(20, undefined, { signal })
      await hub.cutLine()
      say(`the line is cut, for ${outageMs / 1000} s`)
      await sleep(outageMs, undefined, { signal })
      await hub.mendLine()
      say('the line is back')
    },
  })
  if (!result) throw new Error('the lane has no result')
  const share = showMultiple(result.lineBytes / bytesOf(image))
  return `The line was cut for ${outageMs / 1000} s in the middle of a pull: none of the ${machines} machines saw more than a pause, nobody had to start again, and ${share} of the image crossed the line.`
}

/** The registry is gone for good. */
export async function loseTheRegistry(stage: Stage): Promise<string> {
  const { mirror, hub, machines, signal } = stage
  await hub.cutLine()
  const [cached] = await playScene({ ...stage, lanes: [{ name: 'no registry', base: mirror, hub }] })
  const startedAt = performance.now()
  const { status, message } = await manifestStatus({
    base: mirror,
    repository: 'library/never-pulled',
    tag: 'latest',
    signal,
  })
  const toldMs = performance.now() - startedAt
  if (!cached || status < 500) throw new Error(`an unknown image was answered with ${status}`)
  return `The registry was gone: what had been pulled before came to all ${machines} in ${showSeconds(cached.totalMs)}, and what had not was refused in ${showSeconds(toldMs)}, with the reason (${status}: ${message}).`
}
