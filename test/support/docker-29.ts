import { type Pulled, pull } from './client.ts'

/**
 * Asks for what Docker 29 with the containerd store asks for, in its order, when it pulls an image with an
 * attestation through a mirror: the tag, the index, the platform's manifest, the attestation's manifest, its
 * referrers (after anything but a 200 the tag of the referrers tag schema), the config, then the layers.
 */
export async function pullAsDocker29(
  mirror: string,
  repository: string,
  tag: string,
): Promise<{ asked: readonly string[]; referrers: Pulled }> {
  const asked: string[] = []
  const ask = async (path: string, method = 'GET'): Promise<Pulled> => {
    const url = `${mirror}/v2/${repository}/${path}?ns=docker.io`
    const accept = 'application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, */*'
    const answer = await pull(url, { method, headers: { accept } })
    asked.push(`${method} ${path.replace(/\/.*/, '')} ${answer.status}`)
    return answer
  }
  const head = await ask(`manifests/${tag}`, 'HEAD')
  const index = JSON.parse((await ask(`manifests/${head.headers['docker-content-digest']}`)).text)
  const [image, attestation] = index.manifests
  const platform = JSON.parse((await ask(`manifests/${image.digest}`)).text)
  const statement = JSON.parse((await ask(`manifests/${attestation.digest}`)).text)
  const referrers = await ask(`referrers/${attestation.digest}`)
  if (referrers.status !== 200) await ask(`manifests/${attestation.digest.replace(':', '-')}`)
  for (const { config, layers } of [platform, statement]) {
    for (const { digest } of [config, ...layers]) await ask(`blobs/${digest}`)
  }
  return { asked, referrers }
}
