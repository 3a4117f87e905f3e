import type { OpenedSpan, Source, SpanQuery } from '../content/source.ts'
import type { UpstreamRepository } from '../mirror/upstream-repository.ts'
import type { Digest } from '../oci/digest.ts'

/** The way to a blob by the upstream of a repository, which hears what it says of it. */
export function blobSource(
  { key, name, upstream }: UpstreamRepository,
  digest: Digest,
  onFailure: (error: unknown) => Promise<void>,
): Source {
  return {
    name: upstream.name,
    repository: key,
    async open(position: number, query: SpanQuery): Promise<OpenedSpan> {
      try {
        return await upstream.blob(name, digest, { position, ...query })
      } catch (error) {
        await onFailure(error)
        throw error
      }
    },
  }
}
