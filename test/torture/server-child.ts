/**
 * A process that is killed: a whole Larder in each folder of its parameters, of which the first are their upstream and their configuration. It waits with its modules loaded until it is
 * told to begin, and tells its ports when all of them answer.
 */
import { once } from 'node:events'
import { openLarder } from './larder.ts'

process.send?.('loaded')
await once(process, 'message')
const [upstream = '', configText = '', ...folders] = process.argv.slice(2)
const config: Record<string, unknown> = JSON.parse(configText)
const larders = await Promise.all(folders.map((folder) => openLarder(folder, { upstream, config })))
process.send?.({ ports: larders.map(({ port }) => port) })
