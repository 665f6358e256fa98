import { basename, join, resolve } from 'node:path'
import { systemClock } from '../../../core/clock.ts'
import { KithError } from '../../../core/errors.ts'
import { readBackup } from '../../../daemon/backup/read.ts'
import { findSnapshot, listSnapshots, pruneSnapshots, snapshotFolder, snapshotName } from '../../../daemon/backup/snapshots.ts'
import { loadConfig } from '../../../daemon/config/load.ts'
import { openFile, openingKeys } from '../../backup/keys.ts'
import { makeBackup, sealingChoice } from '../../backup/make.ts'
import { openTarget } from '../../backup/target.ts'
import type { CommandContext } from '../../context.ts'
import { bytes } from '../../format.ts'
import { createProgressBar } from '../../progress.ts'
import type { CommandHandler } from '../../spec.ts'
import { harmless, table } from '../../style.ts'
import { madeJson } from '../backup/handler.ts'

export const create: CommandHandler = async (context, { options }) => {
  const made = await makeBackup(context, options, sealingChoice(options), async (stage) =>
    openTarget(context, join(await snapshotFolder(context.home), snapshotName(stage)), false),
  )
  // The new one is on the disk before an old one goes.
  const name = basename(made.path)
  const removed = await pruneSnapshots(context.home, made.keep, name)
  context.output.result(
    { name, ...madeJson(made), removed: removed.map((old) => old.name) },
    (palette) => [
      `${palette.good('made')}  ${palette.strong(name)}  ${bytes(made.bytes)}, ${made.files} files`,
      ...(removed.length === 0 ? [] : [palette.quiet(`removed: ${removed.map((old) => old.name).join(', ')}`)]),
    ],
    name,
  )
  return undefined
}

export const list: CommandHandler = async (context) => {
  const snapshots = await listSnapshots(context.home)
  context.output.result(
    { snapshots },
    (palette) =>
      snapshots.length === 0
        ? palette.quiet('there is no snapshot of this home')
        : table([
            ['snapshot', 'made', 'size'].map((text) => ({ text, style: palette.quiet })),
            ...snapshots.map(({ name, created_at, bytes: size }) => [{ text: name, style: palette.strong }, created_at, bytes(size)]),
          ]),
    snapshots.map(({ name }) => name).join('\n'),
  )
  return undefined
}

export const verify: CommandHandler = async (context, { args, options }) => {
  const [wanted] = args
  const path = wanted?.includes('/') === true ? resolve(context.cwd, wanted) : (await findSnapshot(context.home, wanted)).path
  const file = await openFile(context, path)
  const bar = createProgressBar({ clock: systemClock, label: 'verify', ...(context.json || context.quiet ? {} : { terminal: context.terminal }) })
  try {
    using keys = await openingKeys(context, options, { passphrase: file.passphrase, own: true })
    const { header, files, content } = await readBackup({
      source: file.source,
      identities: keys.identities,
      progress: (done, total) => bar.update({ done, total, before: 0 }),
      signal: context.signal,
    })
    bar.end()
    const { did, counter, series, created_at, kith, keys: sealed } = header
    context.output.result(
      { path, did, counter, series, created_at, kith, files, content_bytes: content, keys: sealed },
      (palette) => [
        `${palette.good('sound')}  ${files} files, ${bytes(content)}, of ${created_at}`,
        palette.quiet(`${did ?? 'no identity'}, counter ${counter}`),
        palette.quiet(harmless(path)),
      ],
      path,
    )
  } finally {
    bar.end()
    await file.close()
  }
  return undefined
}

export const prune: CommandHandler = async (context, { options }) => {
  const keep = options.count('keep') ?? (await kept(context))
  if (keep < 1) throw new KithError('USAGE', '--keep is at least 1.', { next: 'kith snapshot prune --help' })
  const removed = (await pruneSnapshots(context.home, keep)).map(({ name }) => name)
  context.output.result(
    { removed, kept: keep },
    (palette) => (removed.length === 0 ? palette.quiet('nothing to remove') : removed.map((name) => `removed  ${name}`)),
    removed.join('\n'),
  )
  return undefined
}

async function kept({ home, env }: CommandContext): Promise<number> {
  return (await loadConfig({ home, env })).values['backup.keep']
}
