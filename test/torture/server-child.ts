/**
 * A process that is killed: a whole Larder in each folder of its parameters, of which the first is their upstream. It waits with its modules loaded until it is
 * told to begin, and tells its ports when all of them answer.
 */
import { once } from 'node:events'
import { busyCache, openLarder } from './larder.ts'

process.send?.('loaded')
await once(process, 'message')
const [upstream = '', ...folders] = process.argv.slice(2)
const larders = await Promise.all(
  folders.map((folder) => openLarder(folder, { upstream, config: busyCache })),
)
process.send?.({ ports: larders.map(({ port }) => port) })
