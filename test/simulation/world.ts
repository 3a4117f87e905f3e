import { pino } from 'pino'
import { partialId } from '../../src/content/fill-options.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { Random } from '../torture/random.ts'
import { SimClient } from './client.ts'
import type { SimClock } from './clock.ts'
import { SimDisk } from './disk.ts'
import { Ledger } from './ledger.ts'
import { SimProcess } from './process.ts'
import { SimPush } from './push.ts'
import type { ProcessEnd, Scenario } from './scenario.ts'
import { SimUpstream } from './upstream.ts'

/** All that there is in a seed beside its time. */
export class World {
  readonly scenario: Scenario
  readonly clock: SimClock
  readonly problems: string[] = []
  readonly ledgers: readonly Ledger[]
  readonly upstreams: readonly SimUpstream[]
  readonly clients: readonly SimClient[]
  readonly pushes: readonly SimPush[]
  readonly disk: SimDisk
  /** What was drawn is over: no process ends any more. */
  isJudged = false
  readonly #random: Random
  readonly #trace: ((line: string) => void) | undefined
  readonly #ends: ProcessEnd[]
  #process: SimProcess
  #startedAt = 0

  /** `trace`: hears of each step. */
  constructor(scenario: Scenario, clock: SimClock, trace?: (line: string) => void) {
    const random = new Random(scenario.seed ^ 0x2545f491)
    this.scenario = scenario
    this.clock = clock
    this.#random = random
    this.#trace = trace
    this.#ends = [...scenario.ends]
    const log = (what: string): void => this.log(what)
    const onProblem = (problem: string): void => this.problem(problem)
    this.ledgers = scenario.blobs.map((blob) => new Ledger(blob))
    this.upstreams = scenario.upstreams.map((one) => new SimUpstream(one, clock, random))
    this.disk = new SimDisk(scenario.disk, clock, random, log)
    this.clients = scenario.clients.map(
      (plan) => new SimClient({ plan, ledger: this.ledger(plan.blob), clock, log, onProblem }),
    )
    this.pushes = scenario.pushes.map(
      (plan) => new SimPush({ ledger: this.ledger(plan.blob), log, onProblem }),
    )
    this.#process = this.#start(new MemoryBlobStore(this.disk.options), new MemoryCatalog())
    for (const client of this.clients) this.#later(client.plan.comesMs, (process) => client.ask(process))
    for (const [n, { comesMs }] of scenario.pushes.entries())
      this.#later(comesMs, async (process) => this.pushes[n]?.push(process))
  }

  get process(): SimProcess {
    return this.#process
  }

  /** Whether nobody wants anything any more, and nothing is on its way. */
  get isQuiet(): boolean {
    const isWaiting = [...this.clients, ...this.pushes].some(({ isWaiting }) => isWaiting)
    return !isWaiting && !this.#process.isStopping && this.#process.blobs.fillCount === 0
  }

  log(what: string): void {
    this.#trace?.(`${this.clock.now.toFixed(2).padStart(12)} ${what}`)
  }

  problem(problem: string): void {
    this.log(problem)
    this.problems.push(problem)
  }

  ledger(blob: number): Ledger {
    const ledger = this.ledgers[blob]
    if (!ledger) throw new Error(`there is no blob ${blob}`)
    return ledger
  }

  /** To be called between two events: looks after what holds all the time, and ends the process where that is due. */
  look(): void {
    if (this.isJudged) return
    const { connections } = this.scenario.options
    for (const { open, character } of this.upstreams) {
      if (open > connections) this.problem(`I7 ${open} connections to ${character.name}, of ${connections}`)
    }
    const [end] = this.#ends
    if (!end || this.clock.events - this.#startedAt < end.afterEvents || this.#process.isStopping) return
    this.#ends.shift()
    if (end.how === 'crash') this.#crash()
    else this.#stop()
  }

  #crash(): void {
    this.log('the process is killed')
    const { number, store, catalog } = this.#process
    this.#process.isStopping = true
    this.clock.forget(number)
    this.clock.owner = 0
    for (const upstream of this.upstreams) upstream.disconnect()
    const later = store.afterCrash(
      { kind: 'killed', keeps: () => this.#random.isLikely(0.5) },
      this.disk.options,
    )
    const goOn = (): void => void this.#goOn(later, new MemoryCatalog(catalog.tables))
    this.clock.after(0, goOn)
  }

  #stop(): void {
    this.log('the process is told to end')
    this.clock.owner = this.#process.number
    const { store, catalog } = this.#process
    void this.#process.stop().then(async () => {
      this.log('the process has ended')
      // Throws where something is open.
      const isPushed = this.pushes.some(({ isWaiting, hasBegun }) => isWaiting && hasBegun)
      if (!isPushed) await store[Symbol.asyncDispose]().catch((error: unknown) => this.problem(`I6 ${error}`))
      this.clock.forget(this.#process.number)
      this.clock.owner = 0
      const later = store.afterCrash({ kind: 'killed', keeps: () => true }, this.disk.options)
      await this.#goOn(later, catalog)
    })
  }

  /** The next process, and those who were with the last one come again. */
  async #goOn(store: MemoryBlobStore, catalog: MemoryCatalog): Promise<void> {
    await this.#recount(store)
    this.#process = this.#start(store, catalog)
    const wanting = this.clients.filter((client) => client.isWaiting && client.plan.comesMs <= this.clock.now)
    for (const client of wanting) this.#later(this.#random.next() * 100, (process) => client.ask(process))
    const pushes = this.pushes.filter(({ isWaiting, hasBegun }) => isWaiting && hasBegun)
    for (const push of pushes) this.#later(this.#random.next() * 100, (process) => push.push(process))
  }

  #start(store: MemoryBlobStore, catalog: MemoryCatalog): SimProcess {
    const { upstreams, scenario } = this
    const number = (this.#process?.number ?? 0) + 1
    this.log(`process ${number} starts`)
    this.#startedAt = this.clock.events
    this.clock.owner = number
    const isTraced = this.#trace !== undefined
    const logger = isTraced
      ? pino({ level: 'trace', base: null, timestamp: false }, { write: (line) => this.log(line.trim()) })
      : silent
    const log = (what: string): void => this.log(what)
    const parts = { number, store, catalog, upstreams, options: scenario.options, logger, isTraced, log }
    return new SimProcess(parts)
  }

  /** Asks whichever process there is by then. */
  #later(milliseconds: number, ask: (process: SimProcess) => Promise<void>): void {
    const { owner } = this.clock
    this.clock.owner = 0
    this.clock.after(milliseconds, () => {
      this.clock.owner = this.#process.number
      if (!this.#process.isStopping) void ask(this.#process)
      else this.#later(100, ask)
    })
    this.clock.owner = owner
  }

  /** What a process has left need not come again. */
  async #recount(store: MemoryBlobStore): Promise<void> {
    for (const ledger of this.ledgers) {
      const { digest, bytes } = ledger.blob
      const partial = await store.partials.find(partialId(digest))
      ledger.left((await store.stat(digest)) ? bytes.length : (partial?.bytes ?? 0))
    }
  }
}

const silent = pino({ enabled: false })
