import type { Fault, FaultMatcher } from '../../test/support/hub-faults.ts'
import type { Trace } from './line-trace.ts'

/** What the look-alike's process can be asked for. */
export interface HubControl {
  /** Opens the line and the registry behind it. Once, before everything else. */
  start(options: HubProcessOptions): Promise<HubPlace>
  /** Adds an image whose layers have these sizes in bytes; the same seed gives the same bytes. */
  addImage(options: ImageRequest): Promise<ImageSummary>
  traffic(): Promise<Traffic>
  /** What happened on the line so far. Throws where it is not traced. */
  trace(): Promise<Trace>
  /** Breaks the next `times` matching answers, or all until `clearFaults`. */
  fault(matcher: Omit<FaultMatcher, 'path'>, fault: Fault, times?: number): Promise<void>
  clearFaults(): Promise<void>
  /** Cuts what is under way and refuses new connections. Throws where there is no line. */
  cutLine(): Promise<void>
  mendLine(): Promise<void>
  /** Nothing arrives any more, while connections open and stay. Throws where there is no line. */
  silenceLine(): Promise<void>
}

export interface HubProcessOptions {
  /** Bytes a second that everybody shares; undefined for no line at all, which saves the proxy's own time. */
  readonly bytesPerSecond?: number
  /** Milliseconds there and back. */
  readonly roundTripMs?: number
  /** Bytes a second of each connection, however few there are. */
  readonly connectionBytesPerSecond?: number
  /** Bytes of a connection that may be on their way unacknowledged; unbounded unless set. */
  readonly windowBytes?: number
  /** Of that window at the start of a connection; twice as many after each round trip. */
  readonly startWindowBytes?: number
  /** The share of packets that is lost, from 0 to 1: what follows such a one waits a round trip for it. */
  readonly lossProbability?: number
  /** Bytes after which each connection is reset. */
  readonly cutAfterBytes?: number
  /** Whether registry, token service and CDN speak TLS. */
  readonly isTls?: boolean
  /** Whether it is noted what happens on the line; of requests, where they come over TLS. */
  readonly isTraced?: boolean
}

export interface HubPlace {
  /** The registry's base, without a slash at the end. */
  readonly url: string
  /** The authority (PEM) that signed its certificate, where it speaks TLS. */
  readonly ca: string | undefined
}

export interface ImageRequest {
  readonly repository: string
  readonly tag: string
  readonly layerSizes: readonly number[]
  readonly seed: string
}

export interface ImageSummary {
  readonly repository: string
  readonly tag: string
  readonly manifest: BlobSummary
  readonly config: BlobSummary
  readonly layers: readonly BlobSummary[]
}

export interface BlobSummary {
  readonly digest: string
  /** Bytes. */
  readonly size: number
}

export interface Traffic {
  /** Bytes that came over the line so far, headers too; without a line those of manifests and blobs. */
  readonly bytes: number
  /** GETs of manifests that were answered, which is what Docker Hub counts as pulls. */
  readonly pulls: number
  /** That were ever opened over the line; 0 without one. */
  readonly connections: number
}

/** A question to the process and its answer, as they travel. */
export interface HubCall {
  readonly id: number
  readonly method: keyof HubControl
  readonly parameters: readonly unknown[]
}

export type HubAnswer =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly failure: string }
