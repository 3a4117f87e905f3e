import { setTimeout as sleep } from 'node:timers/promises'
import type { ImageSummary } from '../support/hub-control.ts'
import type { HubProcess } from '../support/hub-process.ts'
import type { Display } from './display.ts'
import { type PullProgress, pull } from './pull.ts'

/** One way to the image. */
interface Lane {
  readonly name: string
  /** The registry that the machines ask, without a slash at the end. */
  readonly base: string
  /** The registry at the far end of the line, which counts what crosses it. */
  readonly hub: HubProcess
}

/** What became of one lane. */
export interface LaneResult {
  readonly lineBytes: number
  /** Milliseconds until the slowest machine had all. */
  readonly totalMs: number
}

export interface SceneOptions {
  readonly lanes: readonly Lane[]
  readonly image: ImageSummary
  /** How many pull in each lane. */
  readonly machines: number
  readonly display: Display
  readonly signal: AbortSignal
  /** Something that happens meanwhile. `served` is the share of the image that the machines have, 0 to 1. */
  readonly meanwhile?: (stage: {
    served(): number
    say(note: string): void
    signal: AbortSignal
  }) => Promise<void>
}

const refreshMs = 100

/** Lets all machines of all lanes pull at once and shows how far they are. Rejects as soon as one of them fails. */
export async function playScene(options: SceneOptions): Promise<LaneResult[]> {
  const { lanes, image, machines, display, meanwhile } = options
  const { repository, tag } = image
  const total = bytesOf(image)
  const runs = await Promise.all(
    lanes.map(async (lane) => ({
      lane,
      before: (await lane.hub.traffic()).bytes,
      progresses: Array.from({ length: machines }, (): PullProgress => ({ bytes: 0, totalMs: undefined })),
    })),
  )
  let note = ''
  const crossed = () =>
    Promise.all(runs.map(async ({ lane, before }) => (await lane.hub.traffic()).bytes - before))
  const show = async (): Promise<void> => {
    const bytes = await crossed()
    display.show({
      lanes: runs.map(({ lane, progresses }, index) => {
        return { name: lane.name, progresses, lineBytes: bytes[index] ?? 0 }
      }),
      total,
      note,
    })
  }
  const ended = new AbortController()
  const signal = AbortSignal.any([options.signal, ended.signal])
  const everybody = runs.flatMap(({ progresses }) => progresses)
  const served = () => everybody.reduce((sum, { bytes }) => sum + bytes, 0) / (total * everybody.length)
  const say = (text: string): void => {
    note = text
  }
  display.begin()
  const showing = repeat(show, signal)
  try {
    await Promise.all([
      ...runs.flatMap(({ lane, progresses }) =>
        progresses.map((progress) => pull({ base: lane.base, repository, tag, progress, signal })),
      ),
      meanwhile?.({ served, say, signal }),
    ])
  } finally {
    ended.abort()
    await showing
  }
  await show()
  const bytes = await crossed()
  return runs.map(({ progresses }, index) => ({
    lineBytes: bytes[index] ?? 0,
    totalMs: Math.max(...progresses.map(({ totalMs = 0 }) => totalMs)),
  }))
}

/** Bytes of the layers of an image. */
export function bytesOf(image: ImageSummary): number {
  return image.layers.reduce((sum, { size }) => sum + size, 0)
}

async function repeat(show: () => Promise<void>, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await show()
    await sleep(refreshMs, undefined, { signal }).catch(() => {})
  }
}
