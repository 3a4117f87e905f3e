import type { FastifyReply } from 'fastify'
import type { CacheStatus, Manifests, ServedHead, ServedManifest } from '../../mirror/manifests.ts'
import { matchesEntityTag } from '../../oci/conditional.ts'
import type { Visibility } from '../../registry/visibility.ts'
import { type Answerer, cacheHeader } from './question.ts'

/** Manifests by tag and by digest (distribution-spec end-3). */
export function manifestRoute({
  manifests,
  visibility,
}: {
  manifests: Manifests
  visibility: Visibility
}): Answerer<'manifest'> {
  return async ({ request, reply, repository, target, record }) => {
    const manifest = await (request.method === 'HEAD'
      ? manifests.head(repository, target.reference)
      : manifests.get(repository, target.reference))
    await visibility.assertServable(repository, manifest)
    record.manifest = manifest
    const entityTag = `"${manifest.digest}"`
    reply.header('docker-content-digest', manifest.digest).header('etag', entityTag)
    describeFreshness(reply, manifest)
    if (matchesEntityTag(request.headers['if-none-match'], entityTag)) {
      reply.code(304).send()
      return
    }
    reply.header('content-type', manifest.mediaType).header('content-length', sizeOf(manifest))
    // Also for HEAD, where Node drops the body: Fastify would add a charset to the type of an empty one.
    reply.send(asBuffer(manifest.bytes))
  }
}

/** Tells the client how old the copy is; RFC 9111 5.1, 5.5 and distribution-spec "Warnings". */
function describeFreshness(reply: FastifyReply, { status, checkedAt }: ServedManifest): void {
  reply.header(cacheHeader, status satisfies CacheStatus)
  if (checkedAt === undefined) return
  reply.header('age', Math.max(0, Math.round((Date.now() - checkedAt) / 1000)))
  if (status !== 'stale') return
  const since = new Date(checkedAt).toISOString()
  reply.header('warning', `299 - "the upstream could not confirm it; this tag was last checked at ${since}"`)
}

function sizeOf(manifest: ServedManifest | ServedHead): number {
  return 'size' in manifest ? manifest.size : manifest.bytes.length
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
