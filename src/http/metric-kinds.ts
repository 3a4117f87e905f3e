import { Counter, Gauge, type Registry } from 'prom-client'

/** A gauge whose figure is read when it is asked for; undefined: nobody knows it, and it is not shown. */
export function addGauge(
  registers: Registry[],
  name: string,
  help: string,
  read: () => number | undefined | Promise<number | undefined>,
): void {
  new Gauge({
    name,
    help,
    registers,
    async collect() {
      const figure = await read()
      if (figure === undefined) this.remove()
      else this.set(figure)
    },
  })
}

/** A counter that somebody else keeps. */
export function addTotal(registers: Registry[], name: string, help: string, read: () => number): void {
  new Counter({
    name,
    help,
    registers,
    collect() {
      this.reset()
      this.inc(read())
    },
  })
}

/** Counters that somebody else keeps, by their names. */
export function addLabelledTotal(
  registers: Registry[],
  name: string,
  help: string,
  label: string,
  read: () => Readonly<Record<string, number>>,
): void {
  new Counter({
    name,
    help,
    labelNames: [label],
    registers,
    collect() {
      this.reset()
      for (const [value, count] of Object.entries(read())) this.inc({ [label]: value }, count)
    },
  })
}
