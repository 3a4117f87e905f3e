import type { Digest } from '../../src/oci/digest.ts'
import { problemsOf, pullWhole } from './client.ts'
import { isOnly, type Shelf } from './shelf.ts'

/**
 * What a server breaks of what was acknowledged. `only`: digests and tags that are looked at, else all. Of what was asked
 * for and not answered the shelf learns what has come of it.
 */
export async function brokenPromises(
  url: string,
  shelf: Shelf,
  only?: ReadonlySet<string>,
): Promise<string[]> {
  const repository = `${url}/v2/${shelf.name}`
  const problems: string[] = []
  for (const [digest, entry] of shelf.manifests) {
    if (only && !only.has(digest)) continue
    const isThere = await statusOf(`${repository}/manifests/${digest}`)
    if (!entry.may.has(isThere)) problems.push(`manifest ${digest} is ${isThere ? 'there again' : 'lost'}`)
    if (isThere) problems.push(...(await problemsOf(repository, entry.image)))
    if (isThere) entry.may = new Set([true])
    else shelf.manifests.delete(digest)
  }
  for (const [tag, pointed] of shelf.tags) {
    if (only && !only.has(tag)) continue
    const { status, headers } = await pullWhole(`${repository}/manifests/${tag}`)
    const digest = status === 200 ? (headers['docker-content-digest'] as Digest) : undefined
    if (!pointed.has(digest))
      problems.push(`tag ${tag} points at ${digest}, not at ${[...pointed].join(' or ')}`)
    if (digest !== undefined && !isOnly(shelf.manifests.get(digest)?.may ?? new Set([true]), true))
      problems.push(`tag ${tag} points at ${digest}, which is not there`)
    shelf.tags.set(tag, new Set([digest]))
  }
  for (const digest of shelf.deleted) {
    if (only && !only.has(digest)) continue
    if (await statusOf(`${repository}/blobs/${digest}`)) problems.push(`blob ${digest} is there again`)
    else shelf.deleted.delete(digest)
  }
  return problems.map((problem) => `${shelf.name}: ${problem}`)
}

async function statusOf(url: string): Promise<boolean> {
  const pulled = await pullWhole(url)
  const { status } = pulled
  if (status !== 200 && status !== 404) throw new Error(`${url}: ${status} ${pulled.text}`)
  return status === 200
}
