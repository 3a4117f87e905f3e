// An error that nothing catches. Thought of: thrown in a callback; a rejection that nobody listens to, in the middle of a
// push and of a download; something that is no Error; secrets and line feeds in it; stderr that nobody reads.
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage, pseudoRandomBytes } from '../support/images.ts'
import { pushImage } from '../support/push.ts'
import { startLarder } from './support/larder-process.ts'
import { scratchFolder } from './support/scratch-folder.ts'

const uncaught: Record<string, string> = {
  'an error thrown in a callback': 'throw new Error("https://me:hunter2@registry.test\\nsecond line")',
  'a rejection that nobody listens to':
    'Promise.reject(new Error("hunter\\nsecond line", { cause: new Error("Bearer hunter2") }))',
  'a rejection with something that is no error': 'Promise.reject("password=hunter2\\nsecond line")',
}

for (const [what, statement] of Object.entries(uncaught)) {
  test(`${what}: one line says what to report, exit code 1, and what was acknowledged is there`, {
    timeout: 60_000,
  }, async () => {
    await using scratch = await scratchFolder()
    await using hub = await startDockerHub()
    const blob = hub.addBlob('library/app', pseudoRandomBytes(2_000_000, 'uncaught'))
    const own = buildImage({ layers: [100_000], seed: 'own' })
    const options = { directory: scratch.path, upstreams: [{ name: 'docker.io', url: hub.url }] }
    const script = join(scratch.path, 'script.mjs')
    await writeFile(script, `process.on("SIGUSR2", () => { ${statement} })`)
    await using first = await startLarder({
      ...options,
      nodeOptions: ['--import', script],
    })
    await pushImage(`${first.url}/v2/own`, 'v1', own)
    using hold = hub.hold({ listener: 'cdn', digest: blob.digest }, 1_000_000)
    const begun = Promise.withResolvers<void>()
    const url = `${first.url}/v2/library/app/blobs/${blob.digest}`
    const pulling = pull(url, { onBytes: () => begun.resolve() })
    await begun.promise
    assert.equal(await first.poke(), 1)
    assert.equal((await pulling).isComplete, false)
    const lines = first.stderr.split('\n').filter((line) => line.includes('second line'))
    assert.equal(lines.length, 1, first.stderr)
    assert.match(lines[0] ?? '', /^larder: ended by an error .* report this line: .*second line/)
    assert.doesNotMatch(first.stderr, /hunter2/)
    hold.release()
    await using second = await startLarder(options)
    assert.equal((await pull(`${second.url}/v2/own/manifests/v1`)).status, 200)
    for (const { digest } of own.layers) {
      assert.equal((await pull(`${second.url}/v2/own/blobs/${digest}`)).digest, digest)
    }
    assert.equal((await pull(`${second.url}/v2/library/app/blobs/${blob.digest}`)).digest, blob.digest)
  })
}
