import type { Crash } from '../../src/storage/memory/crash.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import type { OpenCatalog } from './catalogs.ts'
import { type Cast, problemsOf, recover } from './invariants.ts'
import { now } from './operations.ts'
import { NothingNew, Paths } from './paths.ts'
import { PinWatch } from './pinned.ts'
import { plainDoor } from './plain-door.ts'
import { ChosenTurns, Stage, type Turns } from './turns.ts'
import { type OpenDoor, storeOn, World } from './world.ts'

/** Some who work side by side, on a world that was prepared for them. */
export interface Scene extends Cast {
  readonly prepare?: (world: World) => Promise<void>
  readonly actors: Readonly<Record<string, (world: World) => Promise<void>>>
  /** What the process after a crash is asked for first. */
  readonly afterwards?: (world: World) => Promise<void>
  /** Steps on the disk that count: fewer make fewer orders. */
  readonly disk?: readonly string[]
  readonly openDoor?: OpenDoor
  readonly openCatalog?: OpenCatalog
}

export interface Loss {
  readonly problems: readonly string[]
  readonly schedule: readonly string[]
}

export interface Found {
  readonly orders: number
  /** The plainest first: in which the actors change least often. */
  readonly losses: readonly Loss[]
}

/** The two steps without which nothing is lost: others stand beside them. */
const fewSteps = ['rename', 'unlink']

const inMemory: OpenCatalog = () => new MemoryCatalog()

/** Plays a scene in every order of its steps, or until it has found `enough` losses. */
export function inEveryOrder(scene: Scene, enough?: number): Promise<Found> {
  return search((paths) => playOnce(scene, new ChosenTurns(paths)), enough)
}

/** Plays a scene in every order of its steps, with a crash at each place, and whatever it leaves. */
export function inEveryOrderWithACrash(scene: Scene, kind: Crash['kind'], enough?: number): Promise<Found> {
  const play = (paths: Paths) => {
    const keeps = () => paths.take([{ name: 'gone' }, { name: 'kept' }]).name === 'kept'
    return playUntilACrash(scene, new ChosenTurns(paths), { kind, keeps })
  }
  return search(play, enough)
}

/** Plays a scene once. */
export async function playOnce(scene: Scene, turns: Turns): Promise<Loss> {
  const { stage, world } = await open(scene, turns)
  const pins = new PinWatch(world, scene.pinnable ?? [])
  await stage.play(actorsOf(scene, world), scene.pinnable ? { look: () => pins.look() } : {})
  await world.door[Symbol.asyncDispose]()
  const problems = [...(await problemsOf(world, scene)), ...(await pins.problems())]
  return { problems, schedule: stage.schedule }
}

/**
 * Plays a scene until a crash, which is one step more; then the next process takes over, and the first thing that it
 * hears is `afterwards`.
 */
export async function playUntilACrash(scene: Scene, turns: Turns, crash: Crash): Promise<Loss> {
  const { stage, world } = await open(scene, turns)
  let hasCrashed = false
  const crasher = async () => {
    await stage.step('crash')
    hasCrashed = true
  }
  await stage.play({ ...actorsOf(scene, world), crasher }, { stops: () => hasCrashed })
  const { schedule } = stage
  const later = world.afterCrash(crash, world.known, scene.openDoor ?? plainDoor())
  const atOnce = await problemsOf(later, scene, { crashed: true })
  if (atOnce.length > 0) return { problems: atOnce, schedule }
  await recover(later, scene.layers, now)
  await scene.afterwards?.(later)
  await later.door[Symbol.asyncDispose]()
  return { problems: await problemsOf(later, scene), schedule }
}

async function search(
  play: (paths: Paths) => Promise<Loss>,
  enough = Number.POSITIVE_INFINITY,
): Promise<Found> {
  const paths = new Paths()
  const losses: Loss[] = []
  let orders = 0
  do {
    try {
      const loss = await play(paths)
      orders += 1
      if (loss.problems.length > 0) losses.push(loss)
    } catch (error) {
      if (!(error instanceof NothingNew)) throw error
    }
  } while (losses.length < enough && paths.next())
  return { orders, losses: losses.toSorted((one, other) => changes(one) - changes(other)) }
}

async function open(scene: Scene, turns: Turns): Promise<{ stage: Stage; world: World }> {
  const stage = new Stage(turns)
  const world = new World({
    stage,
    store: storeOn(stage, scene.disk ?? fewSteps),
    catalog: (scene.openCatalog ?? inMemory)(),
    openDoor: scene.openDoor ?? plainDoor(),
  })
  await scene.prepare?.(world)
  return { stage, world }
}

function actorsOf(scene: Scene, world: World): Record<string, () => Promise<void>> {
  return Object.fromEntries(
    Object.entries(scene.actors).map(([name, act]) => [name, () => act(world)] as const),
  )
}

function changes({ schedule }: Loss): number {
  const actors = schedule.map((step) => step.split(':')[0])
  return actors.filter((actor, index) => index > 0 && actor !== actors[index - 1]).length
}
