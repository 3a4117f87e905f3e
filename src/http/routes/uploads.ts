import { bestEffort } from '../../flow/best-effort.ts'
import {
  type Digest,
  type DigestAlgorithm,
  digestAlgorithm,
  isDigest,
  parseDigest,
} from '../../oci/digest.ts'
import { RegistryError } from '../../oci/error.ts'
import type { UploadState } from '../../registry/repository.ts'
import { pushingOf, pushOptionsOf } from '../pushing-of.ts'
import type { Question } from '../question.ts'
import { receiveBlob, refuseEncoded } from '../receive-blob.ts'
import type { RequestContext } from '../request-context.ts'
import type { Route } from '../routing.ts'

/** How blobs are pushed: a session, pieces, and the digest at the end (distribution-spec end-4, end-5, end-6), or its end without one (end-14). */
export const uploadRoutes: readonly (Route<'uploads'> | Route<'upload'>)[] = [
  { kind: 'uploads', method: 'POST', action: 'push', answer: begin },
  { kind: 'upload', method: 'GET', action: 'push', answer: tell },
  { kind: 'upload', method: 'PATCH', action: 'push', answer: append },
  { kind: 'upload', method: 'PUT', action: 'push', answer: finish },
  { kind: 'upload', method: 'DELETE', action: 'push', answer: cancel },
]

/**
 * Begins a session. With `?digest=` the body is the whole blob. A mount (`?mount=&from=`) of what another repository of
 * this mirror has needs none; every other one is answered by a session, for whatever reason, as the specification lets
 * whoever mounts nothing.
 */
async function begin(question: Question<'uploads'>): Promise<void> {
  const { context, url, asker } = question
  const pushing = pushOptionsOf(question)
  refuseEncoded(context.request)
  const push = pushingOf(question)
  const digest = digestOf(question)
  const mount = url.query.get('mount')
  if (digest === undefined && mount !== null && isDigest(mount)) {
    const from = url.query.get('from') ?? undefined
    const mayRead = (name: string): boolean => asker.may('pull', name)
    if (await push.mount(mount, from, { ...pushing, mayRead })) return tellStored(question, mount)
  }
  const algorithm = algorithmOf(question)
  const state = await push.begin({ ...pushing, algorithm: digest ? digestAlgorithm(digest) : algorithm })
  if (digest !== undefined) {
    try {
      await push.finish(state.id, digest, receiveBlob(context), { ...pushing, length: toldLength(context) })
    } catch (error) {
      // Nobody was told of the session, so that nobody could go on with it or end it.
      await bestEffort(push.cancel(state.id, { ...pushing, signal: undefined }), () => {})
      throw error
    }
    tellStored(question, digest)
  } else tellState(question, 202, `${url.path.replace(/\/?$/, '/')}${state.id}`, state)
}

async function tell(question: Question<'upload'>): Promise<void> {
  const { target, url } = question
  tellState(question, 204, url.path, await pushingOf(question).upload(target.id, pushOptionsOf(question)))
}

async function append(question: Question<'upload'>): Promise<void> {
  const { context, target, url } = question
  refuseEncoded(context.request)
  const { start, length } = spanOf(context)
  const body = receiveBlob(context, { length })
  const state = await pushingOf(question).append(target.id, body, {
    ...pushOptionsOf(question),
    start,
    length: length ?? toldLength(context),
  })
  tellState(question, 202, url.path, state)
}

async function finish(question: Question<'upload'>): Promise<void> {
  const { context, target } = question
  const digest = digestOf(question)
  if (digest === undefined) {
    throw new RegistryError('DIGEST_INVALID', 'the end of an upload needs its digest: ?digest=sha256:...')
  }
  refuseEncoded(context.request)
  const { start, length } = spanOf(context)
  const body = receiveBlob(context, { length })
  await pushingOf(question).finish(target.id, digest, body, {
    ...pushOptionsOf(question),
    start,
    length: length ?? toldLength(context),
  })
  tellStored(question, digest)
}

async function cancel(question: Question<'upload'>): Promise<void> {
  const { reply, target } = question
  await pushingOf(question).cancel(target.id, pushOptionsOf(question))
  reply.code(204).send()
}

/** `?digest-algorithm=` (end-4c). Throws RegistryError DIGEST_INVALID (400). */
function algorithmOf({ url }: Question<'uploads'>): DigestAlgorithm | undefined {
  const given = url.query.get('digest-algorithm')
  if (given === null || given === 'sha256' || given === 'sha512') return given ?? undefined
  throw new RegistryError(
    'DIGEST_INVALID',
    `digest-algorithm is "${given.slice(0, 50)}": sha256 and sha512 are known here`,
  )
}

/** Throws RegistryError DIGEST_INVALID (400). */
function digestOf({ url }: Pick<Question<'upload'>, 'url'>): Digest | undefined {
  const given = url.query.get('digest')
  return given === null ? undefined : parseDigest(given)
}

/**
 * Which bytes of the blob the body says it has: `Content-Range: 0-1023`, as the specification writes it. Throws
 * RegistryError BLOB_UPLOAD_INVALID (400), SIZE_INVALID (400) where Content-Length says otherwise.
 */
function spanOf({ request }: RequestContext): { start: number | undefined; length: number | undefined } {
  const { 'content-range': range, 'content-length': length } = request.headers
  if (range === undefined) return { start: undefined, length: undefined }
  const [, first, last] = /^(?:bytes[ =])?(\d{1,15})-(\d{1,15})(?:\/(?:\d+|\*))?$/.exec(range) ?? []
  const [start, end] = [Number(first), Number(last) + 1]
  if (!(start < end)) {
    throw new RegistryError('BLOB_UPLOAD_INVALID', 'Content-Range must be two positions such as 0-1023')
  }
  if (length !== undefined && Number(length) !== end - start) {
    const message = `Content-Range says ${end - start} bytes, and Content-Length ${length}`
    throw new RegistryError('SIZE_INVALID', message)
  }
  return { start, length: end - start }
}

/** Bytes of the body, where the framing of HTTP tells. */
function toldLength({ request }: RequestContext): number | undefined {
  const { 'content-length': length } = request.headers
  return length === undefined ? undefined : Number(length)
}

/** Where the session is, and how much is there. `0-0` is also said of nothing, as every registry does. */
function tellState(
  { context, reply }: Question<'upload'> | Question<'uploads'>,
  status: 202 | 204,
  path: string,
  { id, offset }: UploadState,
): void {
  reply
    .code(status)
    .header('location', context.publicAddress.linkTo(path))
    .header('range', `0-${Math.max(0, offset - 1)}`)
    .header('docker-upload-uuid', id)
    .header('content-length', 0)
    .send()
}

function tellStored({ context, reply, url }: Question<'upload'> | Question<'uploads'>, digest: Digest): void {
  const [name] = url.path.split('/blobs/uploads', 1)
  reply
    .code(201)
    .header('location', context.publicAddress.linkTo(`${name}/blobs/${digest}`))
    .header('docker-content-digest', digest)
    .header('content-length', 0)
    .send()
}
