/** From where a request comes, as far as that can be told. */
export interface Origin {
  /** Of whoever asks; of the proxy, where that is all that is known. Undefined is a Unix socket. */
  readonly address: string | undefined
  /**
   * `direct`: it asks by a connection of its own. `told`: a trusted proxy says for whom it asks. `untold`: it comes from
   * where a trusted proxy is, and names nobody, or two. `hidden`: a proxy stands between that is not trusted.
   */
  readonly by: 'direct' | 'told' | 'untold' | 'hidden'
  /** A page in a browser sent it: one of anywhere can send requests to the loopback and to the house's network. */
  readonly isOfPage: boolean
}
