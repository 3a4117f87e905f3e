import type { Shares } from '../../flow/shares.ts'
import { matchesEntityTag } from '../../oci/conditional.ts'
import { RegistryError } from '../../oci/error.ts'
import { isManifestMediaType } from '../../oci/media-type.ts'
import { parseTag, type Reference, type Tag } from '../../oci/reference.ts'
import type { ServedManifest } from '../../registry/repository.ts'
import { collectManifest } from '../collect-body.ts'
import { describeServed } from '../describe-served.ts'
import { type DocumentsOptions, withRoom } from '../large-answers.ts'
import { pushingOf } from '../pushing-of.ts'
import type { Question } from '../question.ts'
import { refuseEncoded } from '../receive-blob.ts'
import type { Route } from '../routing.ts'

export interface ManifestRoutesOptions extends DocumentsOptions {
  /** The bytes of all manifests that come in. */
  readonly bodies: Shares
}

/** Of one request; as many of the longest fit into a URL. */
const maximumTags = 100

/** Manifests by tag and by digest (distribution-spec end-3, end-7, end-9). */
export function manifestRoutes(options: ManifestRoutesOptions): readonly Route<'manifest'>[] {
  return [
    { kind: 'manifest', method: 'GET', action: 'pull', answer: (question) => answer(options, question) },
    { kind: 'manifest', method: 'HEAD', action: 'pull', answer: (question) => answer(options, question) },
    { kind: 'manifest', method: 'PUT', action: 'push', answer: (question) => put(options, question) },
    { kind: 'manifest', method: 'DELETE', action: 'delete', answer: forget },
  ]
}

async function answer(
  { documents }: ManifestRoutesOptions,
  { context, reply, repository, target }: Question<'manifest'>,
): Promise<void> {
  const { request, method, asker } = context
  const ask = (reference: Reference) =>
    repository.manifest(reference, { isHead: method === 'HEAD', ...asker })
  const asked = {
    ask: () => ask(target.reference),
    bytesOf: ({ bytes }: ServedManifest) => bytes.length,
    // By its digest it is here.
    again: ({ bytes: _, ...described }: ServedManifest) => {
      return async () => ({ ...described, bytes: (await ask(described.digest)).bytes })
    },
  }
  const manifest = await withRoom(asked, context, documents)
  context.manifest = manifest
  const entityTag = `"${manifest.digest}"`
  reply.header('docker-content-digest', manifest.digest).header('etag', entityTag)
  describeServed(reply, manifest, doubtOf(manifest))
  if (matchesEntityTag(request.headers['if-none-match'], entityTag)) {
    reply.code(304).send()
    return
  }
  reply.header('content-type', contentTypeOf(manifest)).header('content-length', manifest.size)
  // Also for HEAD, where Node drops the body: Fastify would add a charset to the type of an empty one.
  reply.send(asBuffer(manifest.bytes))
}

/** A manifest may say of itself that it is a web page; no browser takes JSON for one. */
function contentTypeOf({ mediaType }: ServedManifest): string {
  const isOfManifests =
    isManifestMediaType(mediaType) || /^application\/(?:json|vnd\.[^+;,]+\+json)$/.test(mediaType)
  return isOfManifests ? mediaType : 'application/octet-stream'
}

async function put({ bodies }: ManifestRoutesOptions, question: Question<'manifest'>): Promise<void> {
  const { context, reply, target, url, asker } = question
  const { signal, request, client } = context
  refuseEncoded(request)
  const named = tagsOf(url.query)
  using body = await collectManifest(context, bodies)
  const manifest = { bytes: body.bytes, mediaType: request.headers['content-type'], tags: named }
  const options = { signal, client, user: asker.who.kind === 'user' ? asker.who.name : undefined }
  const { digest, subject, tags } = await pushingOf(question).putManifest(target.reference, manifest, options)
  if (named.length > 0) reply.header('oci-tag', tags.join(', '))
  if (subject !== undefined) reply.header('oci-subject', subject)
  reply
    .code(201)
    .header('location', context.publicAddress.linkTo(url.path.replace(/[^/]*$/, digest)))
    .header('docker-content-digest', digest)
    .header('content-length', 0)
    .send()
}

/** `?tag=`, as often as a tag is wanted (end-7b). Throws RegistryError TAG_INVALID (400), UNSUPPORTED (414). */
function tagsOf(query: URLSearchParams): Tag[] {
  const given = query.getAll('tag')
  if (given.length <= maximumTags) return given.map(parseTag)
  const message = `at most ${maximumTags} tags are set at a time, and these are ${given.length}: push the manifest again for the others`
  throw new RegistryError('UNSUPPORTED', message, { status: 414 })
}

async function forget({ context, reply, repository, target }: Question<'manifest'>): Promise<void> {
  const { reference } = target
  const isGone = await repository.forget(reference, context.asker)
  if (!isGone)
    throw new RegistryError('MANIFEST_UNKNOWN', `${repository.name} has no manifest ${reference} here`)
  reply.code(202).send()
}

function doubtOf({ doubt, status, checkedAt }: ServedManifest): string | undefined {
  if (doubt !== undefined || status !== 'stale' || checkedAt === undefined) return doubt
  return `the upstream could not confirm it; this tag was last checked at ${new Date(checkedAt).toISOString()}`
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
