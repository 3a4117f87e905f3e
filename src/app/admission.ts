import { Admission, type AdmissionOptions } from '../http/admission.ts'
import type { Uploads } from '../registry/uploads.ts'
import type { RegistryClient } from '../upstream/registry-client.ts'

/** Shares out the descriptors of this process; where they are short, what is open for later use is closed. */
export function admission(
  { uploads, upstreams }: { readonly uploads: Uploads; readonly upstreams: readonly RegistryClient[] },
  options: Pick<AdmissionOptions, 'descriptors' | 'patienceMs' | 'onLetGo' | 'logger'>,
): Admission {
  const onShortage = (): void => {
    uploads.closeIdle()
    for (const upstream of upstreams) upstream.dropIdle()
  }
  return new Admission({ onShortage, ...options })
}
