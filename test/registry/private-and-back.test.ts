/**
 * A repository that everybody could read turns private, and public again, while the questions of anyone are answered in
 * all the ways there are, and the mirror is started anew in between. The operator has an account that sees everything.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Tag } from '../../src/oci/reference.ts'
import type { Fault, FaultMatcher } from '../support/hub-faults.ts'
import { blobOf, buildImage, pseudoRandomBytes } from '../support/images.ts'
import { keyOf, type Outcome, Rights, type Thing } from './rights-fixture.ts'

const image = buildImage({ layers: [3000], seed: 'public' })
const next = buildImage({ layers: [4000], seed: 'private' })
const latest = 'latest' as Tag
const anyone: FaultMatcher = { listener: 'registry', path: /acme\/app/, caller: 'anyone' }

interface Way {
  readonly faults: readonly [FaultMatcher, Fault][]
  /** Of the tag: the copy that was public, or nothing. */
  readonly tag: 'stale' | 'absent'
  /** Of what was public, by its digest. */
  readonly known: Outcome
  /** Milliseconds after which nobody waits for an upstream that says nothing. */
  readonly silentMs?: number
  /** What it comes to once new blobs were asked for: by GET, which is refused, not limited. */
  readonly later?: Way
}

const silent: Way = { faults: [], tag: 'stale', known: 'given' }
const refused: Way = { faults: [], tag: 'absent', known: 'doubt' }
const ways: Readonly<Record<string, Way>> = {
  '429': { ...silent, faults: [[anyone, { status: 429, retryAfter: 1 }]] },
  '429 to HEAD alone': {
    ...silent,
    faults: [
      [
        { ...anyone, method: 'HEAD' },
        { status: 429, retryAfter: 1 },
      ],
    ],
    later: refused,
  },
  '503': { ...silent, faults: [[anyone, { status: 503 }]] },
  silence: { ...silent, faults: [[anyone, { stallBeforeHeaders: true }]], silentMs: 2000 },
  '429 at the token service': {
    ...silent,
    faults: [[{ listener: 'token', caller: 'anyone' }, { status: 429 }]],
  },
  '401': refused,
  '403': { ...refused, faults: [[anyone, { status: 403 }]] },
  '404, also for its list of tags': { ...refused, faults: [[anyone, { status: 404 }]] },
  '401, and a list of tags': {
    ...refused,
    faults: [
      [
        { listener: 'registry', path: /tags\/list/ },
        {
          status: 200,
          headers: { 'Content-Type': 'application/json' },
          body: JSON.stringify({ name: 'acme/app', tags: ['latest'] }),
        },
      ],
    ],
  },
}

const thing = (kind: Thing['kind'], content: Thing['content']): Thing => ({ kind, content })
const partsOf = ({ manifest, config, layers }: typeof image): Thing[] => [
  thing('manifest', manifest),
  ...[config, ...layers].map((blob) => thing('blob', blob)),
]

/** `isLate`: its upstream answers nobody, so that the copy may be given. */
async function tagOf(rights: Rights, isLate = false): Promise<string> {
  const repository = rights.repository('acme/app')
  try {
    const asking = isLate ? repository.manifest(latest, { isHead: false }) : rights.heard(repository, latest)
    const { digest, status } = await asking
    return status === 'stale' ? `stale ${digest}` : digest
  } catch (error) {
    assert.equal(error instanceof Error && error.name, 'UpstreamError')
    return 'absent'
  }
}

async function outcomes(rights: Rights, of: typeof image): Promise<Set<Outcome>> {
  const repository = rights.repository('acme/app')
  return new Set(await Promise.all(partsOf(of).map((part) => rights.ask(repository, part, 'GET'))))
}

for (const [what, way] of Object.entries(ways)) {
  test(`it turns private while anyone gets ${what}: what is new comes to nobody, what was public is given, if only for a while, and all is well once it is public again`, async (t) => {
    const patience = way.silentMs === undefined ? {} : { silentMs: way.silentMs }
    const rights = await Rights.start(t, patience)
    const { hub } = rights
    hub.addImage('acme/app', 'latest', image)
    assert.equal(await tagOf(rights), image.manifest.digest)
    assert.deepEqual(await outcomes(rights, image), new Set(['given']))
    hub.addImage('acme/app', 'latest', next)
    hub.setPrivate('acme/app', ['ann'])
    hub.expireTokens()
    for (const [matcher, fault] of way.faults) hub.fault(matcher, fault)
    for (const [one, { tag, known }] of [
      [rights, way],
      [rights.restarted(t, patience), way.later ?? way],
    ] as const) {
      assert.equal(
        await tagOf(one, tag === 'stale'),
        tag === 'stale' ? `stale ${image.manifest.digest}` : 'absent',
      )
      assert.deepEqual(await outcomes(one, image), new Set([known]))
      const fresh = await outcomes(one, next)
      assert.ok(!fresh.has('given') && !fresh.has('doubt'), [...fresh].join())
    }
    const sent = partsOf(next).map(({ content }) => hub.bytesSent(content.digest))
    assert.deepEqual(
      sent,
      sent.map(() => 0),
      'not even fetched',
    )
    hub.clearFaults()
    hub.setPublic('acme/app')
    hub.expireTokens()
    const again = rights.restarted(t)
    assert.equal(await tagOf(again), next.manifest.digest)
    assert.deepEqual(await outcomes(again, image), new Set(['given']))
    assert.deepEqual(await outcomes(again, next), new Set(['given']))
    assert.deepEqual(await again.catalog.repository(keyOf('acme/app')), { refusedSince: undefined })
  })
}

test('it turns private while a blob of it is on its way: the yes of before is none for those who come later', async (t) => {
  const rights = await Rights.start(t, { servePrivateMs: 0 })
  const { hub, catalog } = rights
  const blob = thing('blob', blobOf(pseudoRandomBytes(200_000, 'large')))
  const { digest } = blob.content
  hub.addImage('acme/app', 'latest', image)
  hub.addBlob('acme/app', blob.content)
  assert.equal(await tagOf(rights), image.manifest.digest)
  using hold = hub.hold({ listener: 'cdn', digest }, 100_000)
  const repository = rights.repository('acme/app')
  const first = rights.ask(repository, blob, 'GET')
  await hold.reached
  hub.setPrivate('acme/app', ['ann'])
  hub.expireTokens()
  assert.equal(await tagOf(rights), 'absent')
  await assert.rejects(repository.blob(digest, {}), { name: 'UpstreamError' })
  assert.notEqual((await catalog.repository(repository.key))?.refusedSince, undefined)
  hold.release()
  assert.equal(await first, 'given')
})
