/**
 * A Larder in the folder of its first parameter, with the configuration of its second one as JSON, in a process of its
 * own. It tells its port, and each line of its log.
 */
import pino from 'pino'
import { openLarder } from '../../test/torture/larder.ts'

const [directory = '', config = '{}'] = process.argv.slice(2)
const logger = pino({ level: 'info' }, { write: (line) => void process.send?.({ line }) })
const { port } = await openLarder(directory, { logger, config: JSON.parse(config) })
process.send?.({ port })
