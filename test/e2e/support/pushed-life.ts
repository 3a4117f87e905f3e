import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import type { Finished } from '../../support/child-process.ts'
import { pull } from '../../support/client.ts'
import { send } from '../../support/push.ts'
import type { LarderProcess } from './larder-process.ts'
import type { PusherKind } from './pushers.ts'
import { ownImage } from './sample-images.ts'

/**
 * The life of an image that exists only here, as one program lives it: pushed, pushed once more, under a second tag,
 * pulled, deleted. The API is asked as well, since what a program says of itself proves little.
 */
export async function livesAndGoes(t: TestContext, kind: PusherKind, larder: LarderProcess): Promise<void> {
  const image = ownImage()
  await using pusher = await kind.start(larder.host, image)
  const repository = `${larder.url}/v2/app`
  const head = (reference: string) => send('HEAD', `${repository}/manifests/${reference}`)
  const digestOf = async (tag: string) => String((await head(tag)).headers['docker-content-digest'])
  const tags = async () => {
    const { status, text } = await pull(`${repository}/tags/list`)
    return status === 200 ? (JSON.parse(text).tags as string[]) : status
  }
  /** Uploads that were begun or gone on with. */
  const uploads = () =>
    larder.requests().filter(({ method }) => method === 'POST' || method === 'PATCH').length
  const isSentAgain = async (name: string) => {
    const before = uploads()
    const { stdout } = succeeded(await pusher.push(name))
    if (kind.name.startsWith('docker')) {
      assert.equal(stdout.match(/: Layer already exists$/gm)?.length, image.layers.length, stdout)
    }
    return uploads() > before
  }

  await t.test('what it says that it pushed is what is here', async () => {
    const pushed = succeeded(await pusher.push('app:0.1.0'))
    const digest = await digestOf('0.1.0')
    assert.match(digest, /^sha256:/)
    assert.equal((await pusher.digestIn(pushed)) ?? digest, digest)
    if (kind.pushes === undefined) assert.equal(digest, image.manifest.digest)
  })

  await t.test('once more, and under a second tag: nothing is uploaded', async () => {
    assert.equal(await isSentAgain('app:0.1.0'), false)
    if (kind.pushes === 'something else') {
      succeeded(await pusher.push('app:0.2.0'))
      return
    }
    assert.equal(await isSentAgain('app:0.2.0'), false)
    assert.equal(await digestOf('0.2.0'), await digestOf('0.1.0'))
  })

  await t.test('it pulls both, and they are listed', async () => {
    succeeded(await pusher.pull('app:0.1.0'))
    succeeded(await pusher.pull('app:0.2.0'))
    assert.deepEqual(await tags(), ['0.1.0', '0.2.0'])
  })

  await t.test('what is deleted cannot be pulled from then on', async () => {
    const digest = await digestOf('0.1.0')
    if (pusher.remove) succeeded(await pusher.remove('app:0.2.0'))
    else assert.equal((await send('DELETE', `${repository}/manifests/0.2.0`)).status, 202)
    failed(await pusher.pull('app:0.2.0'))
    if (kind.removes === 'manifest') {
      assert.equal(await tags(), 404)
    } else {
      succeeded(await pusher.pull('app:0.1.0'))
      assert.deepEqual(await tags(), ['0.1.0'])
      assert.equal((await send('DELETE', `${repository}/manifests/${digest}`)).status, 202)
    }
    failed(await pusher.pull('app:0.1.0'))
    assert.equal((await head(digest)).status, 404)
  })
  assert.deepEqual(pusher.attempts, [])
}

/** Asserts that a program ended with 0. */
export function succeeded(finished: Finished): Finished {
  assert.equal(finished.code, 0, finished.stderr + finished.stdout)
  return finished
}

/** Asserts that a program ended with another code than 0; returns what it said. */
export function failed({ code, stdout, stderr }: Finished): string {
  assert.notEqual(code, 0, stderr + stdout)
  return stderr + stdout
}
