import { setTimeout as sleep } from 'node:timers/promises'
import type { ImageSummary } from '../support/hub-control.ts'
import type { HubProcess } from '../support/hub-process.ts'
import type { Display } from './display.ts'
import { type PullProgress, pull } from './pull.ts'

export interface Round {
  readonly title: string
  /** The registry that the clients ask, without a slash at the end. */
  readonly base: string
}

/** What one round was like; all times of the slowest client. */
export interface RoundResult {
  readonly title: string
  readonly lineBytes: number
  readonly servedBytes: number
  readonly pulls: number
  readonly firstByteMs: number
  readonly totalMs: number
}

export interface RoundOptions {
  readonly hub: HubProcess
  readonly image: ImageSummary
  readonly clients: number
  readonly display: Display
  readonly signal: AbortSignal
}

const refreshMs = 100

/** Lets all clients pull at once and shows how far they are. Rejects as soon as one of them fails. */
export async function playRound(round: Round, options: RoundOptions): Promise<RoundResult> {
  const { hub, image, display, signal } = options
  const { repository, tag } = image
  const before = await hub.traffic()
  const total = image.layers.reduce((sum, { size }) => sum + size, 0)
  const progresses = Array.from(
    { length: options.clients },
    (): PullProgress => ({ bytes: 0, firstByteMs: undefined, totalMs: undefined }),
  )
  const ended = new AbortController()
  const show = async (): Promise<void> => {
    const { bytes } = await hub.traffic()
    display.show({ title: round.title, progresses, total, lineBytes: bytes - before.bytes })
  }
  display.begin(round.title)
  const showing = repeat(show, AbortSignal.any([signal, ended.signal]))
  try {
    await Promise.all(
      progresses.map((progress) => pull({ base: round.base, repository, tag, progress, signal })),
    )
  } finally {
    ended.abort()
    await showing
  }
  await show()
  display.end()
  const after = await hub.traffic()
  return {
    title: round.title,
    lineBytes: after.bytes - before.bytes,
    servedBytes: progresses.reduce((sum, { bytes }) => sum + bytes, 0),
    pulls: after.pulls - before.pulls,
    firstByteMs: Math.max(...progresses.map(({ firstByteMs = 0 }) => firstByteMs)),
    totalMs: Math.max(...progresses.map(({ totalMs = 0 }) => totalMs)),
  }
}

async function repeat(show: () => Promise<void>, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await show()
    await sleep(refreshMs, undefined, { signal }).catch(() => {})
  }
}
