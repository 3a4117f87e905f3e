/** What Larder holds while nobody asks it for anything, built as people run it. */
import assert from 'node:assert/strict'
import { join, resolve } from 'node:path'
import { before, test } from 'node:test'
import { run } from '../support/child-process.ts'
import { pull } from '../support/client.ts'
import { type LarderProcess, startLarder } from './support/larder-process.ts'

const project = resolve(import.meta.dirname, '../..')
const entry = join(project, 'dist/main.js')
/** Bytes. It is 103 MB, of which 58 MB are Node itself, and differs by 1 MB from start to start. */
const mostAtRest = 115e6

/** Tells on stderr what is loaded by any thread, and at the end which parts of Node the main thread has loaded. */
const telltale = `data:text/javascript,${encodeURIComponent(`
import { writeSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { isMainThread } from 'node:worker_threads'
registerHooks({
  load(url, context, next) {
    writeSync(2, 'loaded ' + url + '\\n')
    return next(url, context)
  },
})
if (isMainThread) process.on('exit', () => writeSync(2, process.moduleLoadList.join('\\n') + '\\n'))
`)}`

before(() => run('node', [join(project, 'tools/build.ts'), '--if-stale']))

async function figure(mirror: LarderProcess, name: RegExp): Promise<number> {
  const { text } = await pull(`${mirror.url}/metrics`)
  return Number(new RegExp(`^${name.source} (\\S+)`, 'm').exec(text)?.[1])
}

test('at rest it holds what its parts need, and little that the start has left', async () => {
  await using mirror = await startLarder({ entry })
  assert.ok((await figure(mirror, /process_resident_memory_bytes/)) < mostAtRest)
})

test('what only commands, logins or certain upstreams need is not loaded, nor a thread started', async () => {
  await using mirror = await startLarder({ entry, nodeOptions: ['--import', telltale] })
  await mirror.stop()
  const loaded = mirror.log()
  for (const needed of [/^loaded .*\/node_modules\/got\//m, /^loaded .*\/catalog-writer\.js$/m])
    assert.match(loaded, needed)
  const packages = ['jose', 'bcrypt', 'tldts'].map(
    (name) => new RegExp(`^loaded .*/node_modules/${name}/`, 'm'),
  )
  const files = ['app/verification', 'app/rebuild', 'cli/config-schema', 'yaml/write-yaml'].map(
    (name) => new RegExp(`^loaded .*/dist/${name}\\.js$`, 'm'),
  )
  const threads = [/^loaded .*\/document-reader-thread\.js$/m, /^loaded .*\/file-hasher\.js$/m]
  // WebSocket, that an import of node:http asks for.
  for (const unneeded of [
    ...packages,
    ...files,
    ...threads,
    /^NativeModule internal\/deps\/undici\/undici$/m,
  ])
    assert.doesNotMatch(loaded, unneeded)
})

test('the heap for what is new keeps its size under load, however it was started', async () => {
  await using mirror = await startLarder({ entry })
  const ask = async (): Promise<void> => {
    for (let n = 0; n < 500; n++) await pull(`${mirror.url}/v2/`)
  }
  await Promise.all(Array.from({ length: 8 }, ask))
  const bytes = await figure(mirror, /nodejs_heap_space_size_total_bytes\{space="new"\}/)
  assert.ok(bytes <= 3 * 2 ** 20, `${bytes} bytes`)
})
