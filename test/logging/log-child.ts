import { setImmediate } from 'node:timers/promises'
import { createLogger } from '../../src/logging/logger.ts'

// A process that logs as the mirror does, into whatever its stdout is; see unread-log.slow.test.ts.

/** How many lines to write, or to end once they are written. */
export type Order = { readonly lines: number } | 'end'
/** How many bytes of memory the lines of an order took. */
export type Done = { readonly grownBytes: number }

const logger = createLogger({
  level: 'info',
  format: 'json',
  destination: process.stdout,
  isTerminal: false,
})
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})

process.on('message', async (order: Order) => {
  if (order === 'end') return logger.flush(() => process.exit(0))
  const before = process.memoryUsage.rss()
  for (let line = 0; line < order.lines; line += 1) {
    logger.info({ note: 'x'.repeat(300), line }, 'request')
    // As a server does, it lets other things happen.
    if (line % 100 === 0) await setImmediate()
  }
  process.send?.({ grownBytes: process.memoryUsage.rss() - before } satisfies Done)
})
