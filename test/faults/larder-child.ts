/** A process whose system calls fail: a whole Larder, of its parameters' upstream and folder, which tells its port. */
import pino from 'pino'
import { busyCache, openLarder } from '../torture/larder.ts'

const [upstream = '', folder = ''] = process.argv.slice(2)
const { port } = await openLarder(folder, { upstream, config: busyCache, logger: pino({ level: 'silent' }) })
process.send?.({ port })
