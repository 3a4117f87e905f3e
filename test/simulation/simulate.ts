import { partialId } from '../../src/content/fill-options.ts'
import type { Slots } from '../../src/flow/slots.ts'
import { RegistryError } from '../../src/oci/error.ts'
import { StorageError } from '../../src/storage/error.ts'
import { UpstreamError } from '../../src/upstream/error.ts'
import { Random } from '../torture/random.ts'
import { SimClient } from './client.ts'
import { SimClock } from './clock.ts'
import { type ClientPlan, drawScenario } from './scenario.ts'
import { World } from './world.ts'

/** What came of a seed. */
export interface Played {
  /** What must not be, each with the invariant that it breaks (I1 to I12). */
  readonly problems: readonly string[]
  readonly events: number
}

/** After so many events or milliseconds whoever still waits waits for ever. */
const enough = { events: 300_000, ms: 12 * 3600_000 }
/** Milliseconds in which a disk that has failed is found to be well again, and nobody is rested from any more. */
const restMs = 10 * 60_000

/** Plays a seed from its beginning to quiescence, and judges it. `trace`: hears of each step. */
export async function playSeed(seed: number, trace?: (line: string) => void): Promise<Played> {
  const scenario = drawScenario(seed)
  using clock = new SimClock(new Random(seed ^ 0x6b43a9b5)).install()
  const world = new World(scenario, clock, trace)
  const onRejection = (error: unknown): void =>
    world.problem(`I5 a failure that nobody hears of: ${error instanceof Error ? error.stack : error}`)
  process.on('unhandledRejection', onRejection)
  try {
    await new Game(world).play()
  } finally {
    process.off('unhandledRejection', onRejection)
  }
  return { problems: world.problems, events: clock.events }
}

class Game {
  readonly #world: World

  constructor(world: World) {
    this.#world = world
  }

  async play(): Promise<void> {
    if (!(await this.#passes(() => this.#world.isQuiet, 'somebody waits for ever'))) return
    this.#judgeOutcomes()
    this.#judgeTraffic()
    await this.#judgeLater()
    await this.#end()
  }

  /** Lets time pass until `isOver`; false, and a problem, where it never is (I5). */
  async #passes(isOver: () => boolean, what: string): Promise<boolean> {
    const { clock } = this.#world
    const over = await clock.run(
      () => {
        this.#world.look()
        return isOver()
      },
      { events: enough.events, untilMs: clock.now + enough.ms },
    )
    if (over) return true
    const waiting = this.#world.clients.filter((client) => client.isWaiting).map(({ plan }) => plan.name)
    this.#world.problem(`I5 ${what}: ${waiting} after ${clock.events} events`)
    return false
  }

  /** Every request ends, with bytes or with a failure that says whose it is. */
  #judgeOutcomes(): void {
    for (const { outcome, plan } of this.#world.clients) {
      if (!(outcome instanceof Error)) continue
      const isKnown = [UpstreamError, RegistryError, StorageError].some((kind) => outcome instanceof kind)
      const isOfProcess = /is stopping|held up others/.test(outcome.message)
      if (!isKnown && !isOfProcess) this.#world.problem(`I5 ${plan.name} was told ${outcome.stack}`)
    }
  }

  #judgeTraffic(): void {
    const { ledgers, disk } = this.#world
    if (disk.isBad) return
    for (const { blob, unexcused, again, excuses } of ledgers) {
      if (unexcused <= 0) continue
      this.#world.problem(
        `I4 ${unexcused} bytes of ${blob.name} crossed the line again without a reason (${again} in all; ${excuses.join(', ') || 'no excuses'})`,
      )
    }
  }

  /** All is well again: whoever comes now has the right bytes, and nothing is left over. */
  async #judgeLater(): Promise<void> {
    const world = this.#world
    world.isJudged = true
    for (const upstream of world.upstreams) upstream.mend()
    world.disk.mend()
    await this.#rests()
    for (const [n, ledger] of world.ledgers.entries()) {
      // Where wrong bytes are left from before, the first one is told so.
      for (let times = ledger.excuses.length > 0 ? 2 : 1; times > 0; times -= 1) {
        const { outcome } = await this.#asks(n)
        if (outcome === 'whole') break
        if (times === 1) world.problem(`I5 whoever comes later cannot have ${ledger.blob.name}: ${outcome}`)
      }
    }
  }

  async #asks(blob: number): Promise<SimClient> {
    const world = this.#world
    const plan: ClientPlan = { ...later, blob, comesMs: world.clock.now }
    const onProblem = (problem: string): void => world.problem(problem)
    const log = (what: string): void => world.log(what)
    const client = new SimClient({ plan, ledger: world.ledger(blob), clock: world.clock, log, onProblem })
    world.clock.owner = world.process.number
    void client.ask(world.process)
    await this.#passes(() => !client.isWaiting && world.isQuiet, `${plan.name} waits for ever`)
    return client
  }

  async #rests(): Promise<void> {
    let isOver = false
    this.#world.clock.after(restMs, () => {
      isOver = true
    })
    await this.#passes(() => isOver, 'time stands still')
  }

  /** The end of the last process: nothing is left open, taken or held. */
  async #end(): Promise<void> {
    const world = this.#world
    const { process } = world
    world.clock.owner = process.number
    void process.stop()
    await this.#passes(() => process.isOver, 'the process does not end')
    for (const { open, character } of world.upstreams)
      if (open !== 0) world.problem(`I7 ${open} connections to ${character.name} are left open`)
    for (const { connections, downloads, upstream } of process.lines) {
      await this.#isFree(
        connections,
        world.scenario.options.connections,
        `connections to ${upstream.character.name}`,
      )
      await this.#isFree(
        downloads,
        world.scenario.options.downloads,
        `downloads from ${upstream.character.name}`,
      )
    }
    if (process.lending.count > 0)
      world.problem(`I11 ${process.lending.count} holds are left: ${process.lending.where}`)
    if (process.pieces.inUse > 0) world.problem(`I11 ${process.pieces.inUse} bytes of pieces are in use`)
    if (process.pool.inUse > 0) world.problem(`I11 ${process.pool.inUse} bytes of buffers are in use`)
    // Throws where a partial or an upload is open.
    await process.store[Symbol.asyncDispose]().catch((error: unknown) => world.problem(`I6 ${error}`))
    // What a process that ends leaves beside the blob that a push has stored is found by the next one, in its list of partials.
    const pushed = world.scenario.pushes.map(({ blob }) => partialId(world.ledger(blob).blob.digest))
    const partials = (await process.store.partials.list()).map(({ id }) => id)
    const left = partials.filter((id) => !pushed.some((one) => id.startsWith(one)))
    if (left.length > 0) world.problem(`I6 partials are left beside what is stored: ${left}`)
  }

  async #isFree(slots: Slots, places: number, what: string): Promise<void> {
    const turn = { clients: ['judge'], receivingSince: undefined, bytes: 0, restingMs: 0, end: () => false }
    let taken = 0
    for (let place = 0; place < places; place += 1) void slots.take(turn).then(() => taken++)
    await Promise.resolve()
    await new Promise((resolve) => setImmediate(resolve))
    if (taken !== places)
      this.#world.problem(`I7 ${places - taken} of ${places} places of ${what} are never given back`)
  }
}

const later = {
  name: 'whoever comes later',
  address: '10.0.0.99',
  upstream: 0,
  claim: 0,
  range: undefined,
  rate: undefined,
  pauseMs: 0,
  leavesMs: undefined,
}
