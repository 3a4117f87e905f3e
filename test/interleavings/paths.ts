/** One of several ways to go on. */
export interface Option {
  readonly name: string
  /** What it reads or changes; undefined: everything. Two that touch nothing in common may change places. */
  readonly touches?: readonly string[] | undefined
}

interface Fork {
  readonly options: readonly Option[]
  /** What leads to nothing new from here: it was tried before, and what was done since does not touch it. */
  readonly asleep: readonly Option[]
  taken: number
}

/** Thrown by `take` where all ways on lead to what was seen already, in another order of steps that do not touch. */
export class NothingNew extends Error {}

/**
 * All paths through forks, one after the other: what is run takes its way by `take` at each fork, and is run again after
 * each `next`. Of paths that differ only in the order of steps that touch nothing in common one is enough ("sleep sets",
 * Godefroid 1996): each state is still seen.
 */
export class Paths {
  readonly #forks: Fork[] = []
  #depth = 0

  /** Which way to go. Throws NothingNew, and Error where the same path led to another fork than before. */
  take(options: readonly Option[]): Option {
    const known = this.#forks[this.#depth]
    if (known) {
      this.#depth += 1
      if (known.options.map(nameOf).join() !== options.map(nameOf).join()) {
        throw new Error(`another fork than before: what is run cannot be repeated (${options.map(nameOf)})`)
      }
      return known.options[known.taken] as Option
    }
    const asleep = this.#asleepHere()
    const taken = firstAwake(options, asleep, 0)
    const option = options[taken]
    if (!option) throw new NothingNew('all that may come now was seen before')
    this.#forks.push({ options, asleep, taken })
    this.#depth += 1
    return option
  }

  /** Goes on to the next path. False when all were taken. */
  next(): boolean {
    this.#depth = 0
    for (let last = this.#forks.at(-1); last; last = this.#forks.at(-1)) {
      last.taken = firstAwake(last.options, last.asleep, last.taken + 1)
      if (last.taken < last.options.length) return true
      this.#forks.pop()
    }
    return false
  }

  #asleepHere(): readonly Option[] {
    const before = this.#forks.at(-1)
    const taken = before?.options[before.taken]
    if (!before || !taken) return []
    return [...before.asleep, ...before.options.slice(0, before.taken)].filter(
      ({ name, touches }) =>
        name !== taken.name &&
        touches !== undefined &&
        taken.touches !== undefined &&
        !touches.some((thing) => taken.touches?.includes(thing)),
    )
  }
}

function firstAwake(options: readonly Option[], asleep: readonly Option[], from: number): number {
  let index = from
  while (index < options.length && asleep.some(({ name }) => name === options[index]?.name)) index += 1
  return index
}

function nameOf({ name }: Option): string {
  return name
}
