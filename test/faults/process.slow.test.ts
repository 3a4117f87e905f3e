// A whole Larder in a process of its own, whose system calls fail: those of its files and those of SQLite. Pulls get all bytes
// while blobs are evicted for them, pushes are acknowledged or refused, and what was acknowledged is there after a kill.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdir, readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { storageFolder } from '../storage/files/storage-folder.ts'
import { ChildServer, forkNode } from '../support/child-process.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage, type TestImage } from '../support/images.ts'
import { reasonToSkip } from '../support/programs.ts'
import { type Answered, pushManifest, send, withDigest } from '../support/push.ts'
import { until } from '../support/settle.ts'
import { problemsOfPulls, pullImage } from './setting.ts'

const skip = reasonToSkip({ programs: ['strace', 'mkfifo'], root: true })

/** What strace injects, counted by thread; `+`: and all behind it. */
const faults = [
  'pwrite64:error=ENOSPC:when=1+',
  'pwrite64:error=ENOSPC:when=3+',
  'pwrite64:error=EIO:when=2',
  'pwrite64:error=EIO:when=4+',
  'fdatasync:error=EIO:when=1',
  'fdatasync:error=EIO:when=2+',
  'fsync:error=EIO:when=1+',
  '/^rename:error=EIO:when=1',
  '/^rename:error=ENOSPC:when=1+',
  'openat:error=EIO:when=2',
  'openat:error=EIO:when=1+',
  'openat:error=EMFILE:when=3',
  '/^unlink:error=EIO:when=1+',
]

test('system calls of a process fail: pulls get all bytes, and no acknowledged push is lost', {
  skip,
  timeout: 240_000,
}, async (t) => {
  const folder = await storageFolder(t)
  await using hub = await startDockerHub({ auth: 'none', cdn: false })
  await using running = new AsyncDisposableStack()
  let larder = running.use(await startLarder(hub.url, folder))
  let made = 0
  const newImage = () => {
    made += 1
    return buildImage({ layers: [20_000, 250_000], seed: `image ${made}` })
  }
  const problems: string[] = []
  const acknowledged: TestImage[] = []
  const round = async (name: string) => {
    const [pulled, pushed] = [newImage(), newImage()]
    hub.addImage('library/app', undefined, pulled)
    const [pulls, refusal] = await Promise.all([
      pullImage(`${larder.url}/v2/library/app`, pulled),
      push(`${larder.url}/v2/local/app`, pushed),
    ])
    problems.push(...problemsOfPulls(pulls).map((one) => `${name}: ${one}`))
    if (!refusal) acknowledged.push(pushed)
    return refusal
  }
  for (let count = 0; count < 4; count += 1) await round('before')
  let refused = 0
  for (const fault of faults) {
    const strace = await attach(larder.pid, fault)
    for (let count = 0; count < 2; count += 1) {
      const refusal = await round(fault)
      if (!refusal) continue
      refused += 1
      if (refusal.status < 500 || refusal.code === undefined)
        problems.push(`${fault}: a push was refused by ${refusal.status} ${refusal.text}`)
    }
    await strace.end('SIGTERM')
    await until(
      async () => {
        const ready = await fetch(`${larder.url}/readyz`)
        return ready.status === 200 && JSON.parse(await ready.text()).status === 'ready'
      },
      { timeoutMs: 20_000 },
    ).catch((error) => problems.push(`${fault}: ${error}`))
    const refusal = await round(`${fault}, once it is well`)
    if (refusal) problems.push(`${fault}, once it is well: a push was refused by ${refusal.text}`)
  }
  await larder[Symbol.asyncDispose]()
  larder = running.use(await startLarder(hub.url, folder))
  for (const image of acknowledged) {
    const pulls = await pullImage(`${larder.url}/v2/local/app`, image)
    problems.push(...problemsOfPulls(pulls).map((one) => `after a kill: ${one}`))
  }
  t.diagnostic(`${faults.length} faults: ${acknowledged.length} pushes acknowledged, ${refused} refused`)
  assert.deepEqual(problems, [])
})

/** Dispose to kill it. */
async function startLarder(upstream: string, folder: string) {
  const child = forkNode(new URL('./larder-child.ts', import.meta.url), [upstream, folder], {
    // One thread, so that calls are counted in the order in which they were made.
    environment: { UV_THREADPOOL_SIZE: '1' },
  })
  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }
  const [{ port }] = (await once(child, 'message')) as [{ port: number }]
  return { url: `http://127.0.0.1:${port}`, pid: child.pid ?? assert.fail(), [Symbol.asyncDispose]: kill }
}

/** Lets calls of a running process fail, of all its threads, until it is ended. */
async function attach(pid: number, inject: string): Promise<ChildServer> {
  const [call = ''] = inject.split(':')
  const trace = ['-f', '-qq', '-I', '2', '-o', '/dev/null', '-e', `trace=${call}`, '-e', `inject=${inject}`]
  // What it starts itself has no part in it.
  const strace = ChildServer.start('mkfifo', ['--version'], { by: [['strace', ...trace, '-p', `${pid}`]] })
  await until(async () => {
    const threads = await readdir(`/proc/${pid}/task`)
    // One that has ended meanwhile makes no calls.
    const stateOf = (id: string) => readFile(`/proc/${pid}/task/${id}/status`, 'utf8').catch(() => '')
    const states = await Promise.all(threads.map(stateOf))
    return states.every((state) => !/^TracerPid:\t0$/m.test(state))
  })
  return strace
}

/** Undefined where all was acknowledged, else the first refusal. */
async function push(base: string, { config, layers, manifest }: TestImage): Promise<Answered | undefined> {
  for (const { bytes, digest } of [config, ...layers]) {
    const begun = await send('POST', `${base}/blobs/uploads/`)
    if (begun.status !== 202) return begun
    const url = new URL(begun.headers.location ?? '', base).href
    const put = await send('PUT', withDigest(url, digest), { body: bytes })
    if (put.status !== 201) return put
  }
  const put = await pushManifest(base, manifest.digest, manifest)
  return put.status === 201 ? undefined : put
}
