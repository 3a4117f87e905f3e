import type { Command } from 'commander'
import type { RebuiltFolder } from '../app/rebuild.ts'
import { humanBytes } from '../units/human.ts'
import type { CommandLine } from './command-line.ts'
import type { ConfigCommandIo } from './config.ts'
import { exitCodes } from './exit-codes.ts'
import { configFor, type FolderOptions, folderCommand } from './stored-folder.ts'

/**
 * Adds `larder rebuild`, which makes the catalog of a data folder anew, while nobody uses the folder. The result goes to
 * stdout, what is told meanwhile to stderr. The exit code is 12 where something that was pushed has lost bytes. Throws as
 * `rebuildFolder`.
 */
export function addRebuild(
  program: Command,
  { onStarted, ...io }: ConfigCommandIo & Pick<CommandLine, 'onStarted'>,
): void {
  const description = 'make the catalog anew from all that can be read, while the mirror is stopped'
  folderCommand(program, { name: 'rebuild', description, onStarted }).action(
    async (options: FolderOptions) => {
      const { stdout } = io
      const { config, logger } = await configFor(io, options)
      const { storage } = config
      const { rebuildFolder } = await import('../app/rebuild.ts')
      const rebuilt = await rebuildFolder(storage.dir, logger)
      await new Promise<void>((resolve) => logger.flush(() => resolve()))
      stdout.write(
        options.json
          ? `${JSON.stringify({ schema: 'larder.rebuild/v1', folder: storage.dir, ...rebuilt, keptAs: rebuilt.keptAs ?? null })}\n`
          : sentences(storage.dir, rebuilt),
      )
      if (rebuilt.lost.length > 0) io.setExitCode(exitCodes.warnings)
    },
  )
}

function sentences(folder: string, { keptAs, adopted, missing, blobs, lost }: RebuiltFolder): string {
  const { cached, kept } = blobs
  const lines = [
    `the catalog of ${folder} is made anew${keptAs === undefined ? '' : `; the old one is ${keptAs}`}`,
    `pushed or pinned: ${kept.blobs} blobs, ${humanBytes(kept.bytes)}; cached: ${cached.blobs} blobs, ${humanBytes(cached.bytes)}`,
    `files that no record told of: ${adopted}; records without a file: ${missing}`,
    ...lost.map(({ repository, manifest, tags, blobs: lacking }) => {
      const names =
        tags.length === 0 ? `${repository}@${manifest}` : tags.map((tag) => `${repository}:${tag}`).join(', ')
      return `lost: ${names} lacks ${lacking.join(', ')}: push it again`
    }),
  ]
  return lines.map((line) => `${line}\n`).join('')
}
