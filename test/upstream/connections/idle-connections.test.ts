import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { IdleConnections } from '../../../src/upstream/connections/idle-connections.ts'
import { keptMs } from '../../../src/upstream/connections/kept-ms.ts'
import { until } from '../../support/settle.ts'

/** Opens connections, and gives both ends of each. */
async function opener(t: TestContext): Promise<() => Promise<{ here: Socket; there: Socket }>> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const sockets: Socket[] = []
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return async () => {
    const accepted = once(server, 'connection')
    const here = connect((server.address() as AddressInfo).port, '127.0.0.1')
    const [there] = (await accepted) as [Socket]
    sockets.push(here, there)
    return { here, there }
  }
}

const key = 'registry.test:443:https:'

test('the one that was used last is taken first, and by its own key only', async (t) => {
  const open = await opener(t)
  using idle = new IdleConnections()
  const [first, second, other] = [await open(), await open(), await open()]
  idle.put(first.here, key, 60_000)
  idle.put(second.here, key, 60_000)
  idle.put(other.here, 'other', 60_000)
  assert.equal(await idle.take(key), second.here)
  assert.equal(await idle.take(key), first.here)
  assert.equal(await idle.take(key), undefined)
  assert.deepEqual(first.here.listenerCount('timeout'), 0)
})

test('one that its other end has closed is not given out', async (t) => {
  const open = await opener(t)
  using idle = new IdleConnections()
  const [alive, dead] = [await open(), await open()]
  idle.put(alive.here, key, 60_000)
  idle.put(dead.here, key, 60_000)
  dead.there.destroy()
  await until(() => dead.here.destroyed)
  assert.equal(await idle.take(key), alive.here)
})

test('one that is closed in the moment in which it is taken is not given out', async (t) => {
  const open = await opener(t)
  using idle = new IdleConnections()
  const { here } = await open()
  idle.put(here, key, 60_000)
  const taken = idle.take(key)
  here.destroy()
  assert.equal(await taken, undefined)
})

test('its time over, it is closed', async (t) => {
  const open = await opener(t)
  using idle = new IdleConnections()
  const { here } = await open()
  idle.put(here, key, 20)
  await until(() => here.destroyed)
  assert.equal(await idle.take(key), undefined)
})

test('beyond so many the oldest is closed', async (t) => {
  const open = await opener(t)
  using idle = new IdleConnections()
  const all: Socket[] = []
  for (let count = 0; count < 33; count += 1) {
    const { here } = await open()
    all.push(here)
    idle.put(here, key, 60_000)
  }
  assert.deepEqual(
    all.map(({ destroyed }) => destroyed),
    [true, ...Array(32).fill(false)],
  )
})

test('those of one host are dropped, or all; after disposal none is kept', async (t) => {
  const open = await opener(t)
  const idle = new IdleConnections()
  const [one, other, late] = [await open(), await open(), await open()]
  idle.put(one.here, key, 60_000)
  idle.put(other.here, 'other', 60_000)
  idle.drop((its) => its === key)
  assert.deepEqual([one.here.destroyed, other.here.destroyed], [true, false])
  idle[Symbol.dispose]()
  assert.equal(other.here.destroyed, true)
  idle.put(late.here, key, 60_000)
  assert.equal(late.here.destroyed, true)
})

const hints: Readonly<Record<string, number>> = {
  'timeout=5': 4000,
  'timeout=5, max=100': 4000,
  'timeout=1': 0,
  'timeout=0': 0,
  'timeout=600': 270_000,
  'max=5': 270_000,
  '': 270_000,
}

for (const [hint, milliseconds] of Object.entries(hints)) {
  test(`Keep-Alive: "${hint}" is ${milliseconds} ms`, () => {
    assert.equal(keptMs(hint), milliseconds)
  })
}
