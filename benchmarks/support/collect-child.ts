/** A Larder in the folder of its first parameter, in a process of its own. It tells its port, and each line of its log. */
import pino from 'pino'
import { createApp } from '../../src/app.ts'
import { loadConfig } from '../../src/config/load.ts'

const [directory = ''] = process.argv.slice(2)
const { config } = await loadConfig({
  environment: {},
  workingDirectory: directory,
  overrides: {
    'server.listen': '127.0.0.1:0',
    'storage.dir': directory,
    'local.collectAfter': '1s',
    upstreams: [{ name: 'docker.io', url: 'http://127.0.0.1:9' }],
  },
})
const logger = pino({ level: 'info' }, { write: (line) => void process.send?.({ line }) })
const app = await createApp({ config, logger, environment: {}, version: 'benchmark' })
const [port] = await app.listen()
process.send?.({ port })
