import { UpstreamError } from '../error.ts'
import { addressRefused } from './address-policy.ts'
import { isShortOfDescriptors } from './address-race.ts'

type SystemError = Error & { readonly code?: string; readonly rawPacket?: Buffer }

/** What a server's certificate may lack, by OpenSSL's codes, and what to do about it. */
const certificateAdvice: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: 'untrusted',
  SELF_SIGNED_CERT_IN_CHAIN: 'untrusted',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'untrusted',
  UNABLE_TO_GET_ISSUER_CERT: 'untrusted',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'untrusted',
  CERT_UNTRUSTED: 'untrusted',
  CERT_SIGNATURE_FAILURE: 'untrusted',
  CERT_HAS_EXPIRED: 'expired',
  CERT_NOT_YET_VALID: 'clock',
  ERR_TLS_CERT_ALTNAME_INVALID: 'name',
}

/** What was heard of an origin: the beginning of this answer, earlier answers, or nothing so far. */
type Heard = 'begun' | 'before' | 'never'

/**
 * The UpstreamError for what Node says of a request that got no answer, in words that tell what happened and what to do.
 * `url` is what was asked for, `heard` what its origin has answered in plain http.
 */
export function connectionFailure(error: unknown, upstream: string, url: URL, heard: Heard): UpstreamError {
  if (error instanceof UpstreamError) return error
  const cause = error as SystemError
  if (cause.code === addressRefused) {
    return new UpstreamError('REFUSED', upstream, `refused to follow: ${cause.message}`, { cause })
  }
  if (isShortOfDescriptors(cause)) {
    const message = `too many files and connections are open here to ask ${upstream}: try again in a moment`
    return new UpstreamError('CROWDED', upstream, message, { cause, retryAfterSeconds: 1 })
  }
  const code = cause.code === 'ETIMEDOUT' ? 'TIMED_OUT' : 'UNREACHABLE'
  return new UpstreamError(code, upstream, inWords(cause, url, heard), { cause })
}

function inWords(error: SystemError, url: URL, heard: Heard): string {
  const { code = '', message } = error
  const unnamed = nameFailure(error, url.hostname)
  if (unnamed !== undefined) return unnamed
  const advice = certificateAdvice[code]
  if (advice !== undefined) return `its certificate is not accepted: ${message} (${code})${whatToDo(advice)}`
  if (isPlainAnswer(code, message)) {
    return `what answers at ${url.host} speaks no TLS: if the registry is at plain http, write http://${url.host} in upstreams[].url (${code})`
  }
  if (error.rawPacket && isTlsRecord(error.rawPacket)) return speaksTls(url)
  if (url.protocol === 'http:' && heard !== 'begun' && (code === 'ECONNRESET' || code === 'EPIPE')) {
    const hint = `: if ${url.host} speaks TLS, write https://${url.host} in upstreams[].url`
    return `it closed the connection without an answer${heard === 'never' ? hint : ''} (${message})`
  }
  if (code.startsWith('HPE_')) return `what answers at ${url.host} speaks no HTTP: ${message} (${code})`
  return message
}

/** What to say where no address was found for `host`, an upstream's or a proxy's; undefined where something else failed. */
export function nameFailure({ code, message }: NodeJS.ErrnoException, host: string): string | undefined {
  if (code === 'ENOTFOUND') return `there is no host of the name ${host} (ENOTFOUND)`
  if (code === 'EAI_AGAIN') return `no name server tells the address of ${host} now: ${message}`
  return undefined
}

/** The sentence of an answer, that of Go and nginx, to plain http at a port for TLS. */
const plainRefused = /plain HTTP request was sent to HTTPS|HTTP request to an HTTPS server/i

/** The failure that an answer to plain http tells of in its own words; undefined where it is an answer like any other. */
export function tlsExpected(body: Buffer, upstream: string, url: URL): UpstreamError | undefined {
  if (!plainRefused.test(body.toString('latin1'))) return undefined
  return new UpstreamError('UNREACHABLE', upstream, speaksTls(url))
}

/** What to write where a server at `url` turned out to speak TLS. */
function speaksTls(url: URL): string {
  return `what answers at ${url.host} speaks TLS: write https://${url.host} in upstreams[].url`
}

function whatToDo(advice: string): string {
  switch (advice) {
    case 'untrusted':
      return '; a certificate authority of your own goes into the certificates of this system, or its file into upstreams[].ca'
    case 'expired':
      return '; it has to be renewed there, or the clock here is wrong'
    case 'clock':
      return '; the clock here may be wrong'
    default:
      return ''
  }
}

/** Whether a TLS handshake failed at bytes that are no TLS at all. */
function isPlainAnswer(code: string, message: string): boolean {
  return (
    /^ERR_SSL_(?:WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST|UNKNOWN_PROTOCOL|RECORD_LAYER_FAILURE)$/.test(
      code,
    ) ||
    (code === 'EPROTO' && /wrong version number|packet length too long|http request/i.test(message))
  )
}

/** An alert (21) or a handshake (22) of TLS 1.x. */
function isTlsRecord(packet: Buffer): boolean {
  return (packet[0] === 21 || packet[0] === 22) && packet[1] === 3
}
