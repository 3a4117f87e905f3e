import type { TestContext } from 'node:test'
import { Ledger } from '../../src/registry/ledger.ts'
import type { Answered, Asked, Pull } from '../../src/registry/pull.ts'
import type { TestBlob, TestImage } from '../support/images.ts'

/** Milliseconds without a request after which a pull has ended. */
export const idleMs = 5000

/** A ledger, and a client of it whose requests take 10 ms each. */
export function beginLedger(t: TestContext) {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const pulls: Pull[] = []
  const ledger = new Ledger({ idleMs, onPull: (pull) => pulls.push(pull) })
  t.after(() => ledger[Symbol.dispose]())
  let now = 0
  const ask = (asked: Partial<Asked> & Pick<Asked, 'kind' | 'reference'>, answer: Partial<Answered> = {}) => {
    const attendance = ledger.asked({
      client: '10.0.0.1',
      agent: 'docker/29.1.3',
      upstream: 'docker.io',
      repository: 'library/app',
      isHead: false,
      at: now,
      ...asked,
    })
    return () => {
      now += 10
      attendance.answered({
        at: now,
        status: 200,
        ending: 'complete',
        cache: 'miss',
        bytes: 0,
        pendingBytes: 0,
        manifest: undefined,
        blob: undefined,
        reason: undefined,
        ...answer,
      })
    }
  }
  type Other = { asked?: Partial<Asked>; answer?: Partial<Answered> }
  const manifest = (reference: string, { manifest: body }: { manifest: TestBlob }, other: Other = {}) =>
    ask(
      { kind: 'manifest', reference, ...other.asked },
      { bytes: other.asked?.isHead ? 0 : body.size, manifest: body, cache: 'hit', ...other.answer },
    )
  const blob = (body: TestBlob, other: Other = {}) =>
    ask(
      { kind: 'blob', reference: body.digest, ...other.asked },
      { bytes: body.size, blob: { size: body.size, start: 0 }, ...other.answer },
    )
  const tick = (ms: number) => {
    // The clock of the requests stands still meanwhile: how long a pull took is told by them alone.
    t.mock.timers.tick(ms)
  }
  const pullAll = (what: TestImage, other: Other = {}) => {
    for (const body of [what.config, ...what.layers]) blob(body, other)()
  }
  const letGo = (client = '10.0.0.1') => {
    now += 10
    ledger.letGo({ client, reason: 'too many connections', at: now })
  }
  return { ledger, pulls, ask, manifest, blob, pullAll, tick, letGo }
}
