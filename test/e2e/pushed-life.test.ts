// What exists only here, from the push to its end, with each program that pushes.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startDockerHub } from '../support/docker-hub.ts'
import { meets } from '../support/programs.ts'
import { startLarder } from './support/larder-process.ts'
import { livesAndGoes } from './support/pushed-life.ts'
import { pushers } from './support/pushers.ts'

for (const kind of pushers) {
  test(`${kind.name} pushes, pushes again, adds a tag, pulls and deletes`, {
    timeout: 120_000,
  }, async (t) => {
    if (!meets(t, { programs: [...kind.programs, 'busybox'], root: kind.needsRoot ?? false })) return
    await using hub = await startDockerHub()
    await using larder = await startLarder({ upstreams: [{ name: 'docker.io', url: hub.url }] })
    await livesAndGoes(t, kind, larder)
    assert.equal(hub.count({ path: /blobs/ }), 0)
  })
}
