/** A signed Docker schema 1 manifest, as libtrust writes it: the signatures are put in before the last newline and brace. */
export function signedManifest(
  options: { protectedHeader?: unknown; name?: string; inserted?: string } = {},
): { payload: Buffer; bytes: Buffer } {
  const { name = 'team/app', inserted = '' } = options
  const layers = [{ blobSum: `sha256:${'a'.repeat(64)}` }]
  const body = { schemaVersion: 1, name, tag: '1', architecture: 'amd64', fsLayers: layers, history: [] }
  const payload = Buffer.from(JSON.stringify(body, null, 3))
  const formatLength = payload.length - 2
  const header = {
    formatLength,
    formatTail: payload.subarray(formatLength).toString('base64url'),
    time: '2015-01-01T00:00:00Z',
  }
  const { protectedHeader = Buffer.from(JSON.stringify(header)).toString('base64url') } = options
  const signature = {
    header: { jwk: { crv: 'P-256', kty: 'EC' }, alg: 'ES256' },
    signature: 'AAAA',
    protected: protectedHeader,
  }
  const head = payload.subarray(0, formatLength).toString()
  const bytes = Buffer.from(`${head},${inserted}\n   "signatures": ${JSON.stringify([signature])}\n}`)
  return { payload, bytes }
}
