import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls'

/**
 * The authorities that upstreams are checked against: those that come with Node, those of the system (where programs
 * with OpenSSL look: SSL_CERT_FILE, SSL_CERT_DIR or their defaults) and NODE_EXTRA_CA_CERTS. Reading them takes
 * 20 ms and each context 1 MB: one for the whole process.
 */
export class Certificates {
  #usual: readonly string[] | undefined
  #usualContext: SecureContext | undefined

  /** For connections that trust `ca` too, certificates in PEM. To be made once and used for every connection. */
  secureContext(ca?: string): SecureContext {
    // Copied to a machine, a house's certificate is often not the root: OpenSSL's and Go's clients take it all the same.
    const context = (more: readonly string[]) =>
      createSecureContext({ ca: [...this.#authorities(), ...more], allowPartialTrustChain: true })
    if (ca !== undefined) return context([ca])
    this.#usualContext ??= context([])
    return this.#usualContext
  }

  #authorities(): readonly string[] {
    const all = [...getCACertificates('default'), ...getCACertificates('system')]
    // The system's folder holds each certificate two or three times, with lines of other lengths than Node's.
    this.#usual ??= [...new Map(all.map((pem) => [pem.replaceAll(/\s+/g, ''), pem])).values()]
    return this.#usual
  }
}
