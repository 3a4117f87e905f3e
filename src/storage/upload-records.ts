import type { RepositoryKey } from './repository-key.ts'

/** A push of a blob that is under way. */
export interface UploadRecord {
  readonly id: string
  readonly repository: RepositoryKey
  /** Who had logged in; undefined where nobody had. */
  readonly owner: string | undefined
  /** Milliseconds since the epoch. */
  readonly begunAt: number
  /** Milliseconds since the epoch. */
  readonly touchedAt: number
}

/** What the catalog tells of uploads. */
export interface UploadReads {
  upload(id: string): Promise<UploadRecord | undefined>
  /** Uploads last touched before this, the longest ago first. */
  staleUploads(before: number, limit: number): Promise<UploadRecord[]>
}

/** How uploads begin and end in it. */
export interface UploadVerbs {
  /**
   * A push begins, whose `owner` has logged in; its repository is not known thereby. A power cut may take it until a
   * later verb resolves.
   */
  beginUpload(id: string, repository: RepositoryKey, at: number, owner?: string | undefined): Promise<void>
  /** False where there is no such upload. */
  endUpload(id: string): Promise<boolean>
}
