import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Contender } from '../support/contenders.ts'
import { HubProcess } from '../support/hub-process.ts'
import type { Line } from './rows.ts'

/** Who is measured, and how. */
export interface LineSetting {
  /** Larder first, then another build of it and docker-registry where they are asked for and there. */
  readonly contenders: readonly Contender[]
  /** Of each; undefined: as many as the row says. */
  readonly runs: number | undefined
  /** Tells what is going on. */
  readonly tell: (text: string) => void
  readonly signal: AbortSignal
}

/** A line with a registry behind it that speaks TLS. Dispose to end both. */
export interface LineScene extends AsyncDisposable {
  readonly hub: HubProcess
  /** The file with its authority. */
  readonly ca: string
}

export async function openScene(line: Line): Promise<LineScene> {
  await using building = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'larder-line-'))
  building.defer(() => rm(folder, { recursive: true }))
  const hub = building.use(await HubProcess.start(line))
  const ca = join(folder, 'ca.pem')
  await writeFile(ca, hub.ca ?? '')
  const parts = building.move()
  return { hub, ca, [Symbol.asyncDispose]: () => parts.disposeAsync() }
}
