import { Counter, type Registry } from 'prom-client'
import type { LoginOutcome } from '../access/logins.ts'

/** The logins whose password was looked at, by what became of them. */
export function addLoginMetrics(
  { registry }: { readonly registry: Registry },
  { counts }: { readonly counts: Readonly<Record<LoginOutcome, number>> },
): void {
  new Counter({
    name: 'larder_logins_total',
    help: 'Logins whose password was looked at, by outcome: accepted, refused (wrong), crowded (too many at a time)',
    labelNames: ['outcome'],
    registers: [registry],
    collect() {
      this.reset()
      for (const [outcome, count] of Object.entries(counts)) this.inc({ outcome }, count)
    },
  })
}
