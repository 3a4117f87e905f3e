/**
 * A process that is killed: a whole Larder in each folder of its parameters. It waits with its modules loaded until it is
 * told to begin, and tells its ports when all of them answer.
 */
import { once } from 'node:events'
import { openLarder } from './larder.ts'

process.send?.('loaded')
await once(process, 'message')
const larders = await Promise.all(process.argv.slice(2).map((folder) => openLarder(folder)))
process.send?.({ ports: larders.map(({ port }) => port) })
