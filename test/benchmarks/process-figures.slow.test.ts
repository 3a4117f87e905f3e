import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { test } from 'node:test'
import { cpuTimeOf, listenerOf, memoryOf, resetPeakOf } from '../../benchmarks/support/process-figures.ts'
import { forkNode } from '../support/child-process.ts'

const linuxOnly = process.platform !== 'linux' && 'reads /proc'

test('processor time in user mode is what a busy process says of itself', { skip: linuxOnly }, async () => {
  const before = await cpuTimeOf(process.pid)
  const own = process.cpuUsage()
  while (process.cpuUsage(own).user < 300_000) Math.random()
  const used = (await cpuTimeOf(process.pid)).user - before.user
  const { user } = process.cpuUsage(own)
  assert.ok(Math.abs(used - user / 1e6) < 0.1, `${used} s, and ${user} us by its own account`)
})

test('the peak of memory goes down to what is held when it is reset', { skip: linuxOnly }, async () => {
  const size = 200_000_000
  const child = forkNode(new URL('./big-child.ts', import.meta.url), [String(size)])
  try {
    await once(child, 'message')
    const pid = child.pid ?? 0
    const before = await memoryOf(pid)
    assert.ok(before.peak - before.now > size / 2, `held ${before.now}, at most ${before.peak}`)
    await resetPeakOf(pid)
    const after = await memoryOf(pid)
    assert.ok(after.peak - after.now < size / 10, `held ${after.now}, at most ${after.peak}`)
  } finally {
    child.kill('SIGKILL')
  }
})

test('whoever listens on a port is found', { skip: linuxOnly }, async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  assert.equal(await listenerOf(port, process.pid), process.pid)
  assert.equal(await listenerOf(port, process.ppid), process.pid)
  server.close()
  await once(server, 'close')
  await assert.rejects(listenerOf(port, process.pid), /no process of \d+ listens on port/)
})
