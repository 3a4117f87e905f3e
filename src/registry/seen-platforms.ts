import { lruCache } from '../flow/lru-cache.ts'
import type { ParsedManifest } from '../oci/manifest.ts'

/** A manifest that an index lists. */
export type ListedManifest = ParsedManifest['manifests'][number]

/** Platforms that are remembered of one client: many machines may share an address. */
const maximumPerClient = 2
const maximumClients = 10_000
/** Platforms of the whole network. */
const maximumSeen = 16

/** What most write in several ways (containerd's `platforms.Normalize`), by its one name here. */
const sameAs: Readonly<Record<string, string>> = {
  'linux/arm64/v8': 'linux/arm64',
  'linux/amd64/v1': 'linux/amd64',
  'linux/arm': 'linux/arm/v7',
}

/** For which machine an index says that a manifest is; undefined for none that runs it, such as an attestation. */
export function platformOf({ platform }: ListedManifest): string | undefined {
  if (!platform || platform.os === 'unknown' || platform.architecture === 'unknown') return undefined
  const { os, architecture, variant } = platform
  const name = variant ? `${os}/${architecture}/${variant}` : `${os}/${architecture}`
  return sameAs[name] ?? name
}

/** For which machines the clients of this network have asked for images, in memory. */
export class SeenPlatforms {
  /** By client, what each asked for last at the end. */
  readonly #byClient = lruCache<string, readonly string[]>(maximumClients)
  #seen: readonly string[] = []

  /** A client has asked for a manifest of this platform. */
  asked(client: string, platform: string): void {
    this.#byClient.set(client, atEnd(this.#byClient.get(client) ?? [], platform, maximumPerClient))
    this.#seen = atEnd(this.#seen, platform, maximumSeen)
  }

  /**
   * Which manifests of an index this client is about to ask for: those of its own platforms, or, while it has asked for none
   * of these, those of the network's, where these are no more than `guesses`. Two for the same platform (versions of
   * Windows) cannot be told apart by it: neither is taken.
   */
  likely(client: string, manifests: readonly ListedManifest[], guesses: number): ListedManifest[] {
    const own = ofPlatforms(manifests, this.#byClient.get(client) ?? [])
    if (own.length > 0) return own
    const seen = ofPlatforms(manifests, this.#seen)
    return seen.length <= guesses ? seen : []
  }

  /** What a client asked for last. */
  of(client: string): string | undefined {
    return this.#byClient.get(client)?.at(-1)
  }

  /** The manifests of an index for the machines of this network, and for one more. */
  ofNetwork(manifests: readonly ListedManifest[], platform: string | undefined): ListedManifest[] {
    const platforms = platform === undefined ? this.#seen : [...new Set([...this.#seen, platform])]
    return ofPlatforms(manifests, platforms)
  }
}

function atEnd(platforms: readonly string[], platform: string, most: number): readonly string[] {
  if (platforms.at(-1) === platform) return platforms
  return [...platforms.filter((other) => other !== platform), platform].slice(-most)
}

function ofPlatforms(manifests: readonly ListedManifest[], platforms: readonly string[]): ListedManifest[] {
  return platforms.flatMap((platform) => {
    const matching = manifests.filter((manifest) => platformOf(manifest) === platform)
    return matching.length === 1 ? matching : []
  })
}
