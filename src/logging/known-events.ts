import type { LogRecord } from './record.ts'

/** A request below `/v2/` at its end. */
export interface RequestEvent {
  readonly method: string
  readonly url: string
  readonly status: number
  readonly bytes: number
  readonly ms: number
  readonly ended: string
  readonly client?: string
  readonly agent?: string
  readonly cache?: string
  readonly error?: string
}

/** A machine has pulled an image, or could not. */
export interface PullEvent {
  readonly client: string
  readonly agent?: string
  readonly bytes: number
  readonly cachedBytes: number
  readonly joinedBytes: number
  readonly lineBytes: number
  readonly outcome: string
  readonly ms: number
}

/** A blob has come over the line and is stored. */
export interface FetchEvent {
  readonly upstream: string
  readonly bytes: number
  readonly keptBytes: number
  readonly resumes: number
  readonly bytesPerSecond: number
  readonly ms: number
}

type Fields = LogRecord['fields']

/** The fields of a request; undefined where the record is about something else. */
export function requestEvent({ message, fields }: LogRecord): RequestEvent | undefined {
  const isRequest =
    message === 'request' && hasNumbers(fields, 'status', 'bytes', 'ms') && hasTexts(fields, 'method', 'url')
  return isRequest ? (fields as unknown as RequestEvent) : undefined
}

/** The fields of a pull. */
export function pullEvent({ fields }: LogRecord): PullEvent | undefined {
  const isPull =
    hasNumbers(fields, 'bytes', 'cachedBytes', 'joinedBytes', 'lineBytes', 'ms') &&
    hasTexts(fields, 'client', 'outcome')
  return isPull ? (fields as unknown as PullEvent) : undefined
}

/** The fields of a blob that was fetched. */
export function fetchEvent({ fields }: LogRecord): FetchEvent | undefined {
  const isFetch =
    hasNumbers(fields, 'bytes', 'keptBytes', 'resumes', 'bytesPerSecond', 'ms') &&
    hasTexts(fields, 'upstream')
  return isFetch ? (fields as unknown as FetchEvent) : undefined
}

/** What it was about: `library/nginx:1.25`, `ghcr.io/org/app@sha256:0123456789ab`; undefined where it names nothing. */
export function subjectOf({ upstream, repository, reference, digest, kind }: Fields): string | undefined {
  if (typeof repository !== 'string') return undefined
  const name =
    typeof upstream === 'string' && upstream !== 'docker.io' ? `${upstream}/${repository}` : repository
  const named = typeof reference === 'string' ? reference : digest
  if (typeof named === 'string')
    return named.includes(':') ? `${name}@${shortDigest(named)}` : `${name}:${named}`
  return kind === 'tags' ? `${name} (tags)` : name
}

/** Twelve digits, as Docker shows them. */
function shortDigest(digest: string): string {
  return digest.slice(0, digest.indexOf(':') + 13)
}

function hasNumbers(fields: Fields, ...names: string[]): boolean {
  return names.every((name) => typeof fields[name] === 'number')
}

function hasTexts(fields: Fields, ...names: string[]): boolean {
  return names.every((name) => typeof fields[name] === 'string')
}
