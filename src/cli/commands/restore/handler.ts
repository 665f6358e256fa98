import { resolve } from 'node:path'
import { systemClock } from '../../../core/clock.ts'
import { KithError } from '../../../core/errors.ts'
import { systemRandom } from '../../../core/random.ts'
import type { Secret } from '../../../core/secret.ts'
import { type RestoredHome, restoreBackup } from '../../../daemon/backup/restore.ts'
import { readPassphraseFile, takeEnvironmentPassphrase } from '../../../identity/passphrase.ts'
import { openFile, openingKeys } from '../../backup/keys.ts'
import type { CommandContext } from '../../context.ts'
import { bytes } from '../../format.ts'
import type { Options } from '../../options.ts'
import { createProgressBar } from '../../progress.ts'
import type { CommandHandler } from '../../spec.ts'
import { harmless, type Palette } from '../../style.ts'

export const run: CommandHandler = async (context, { args, options }) => {
  const [file = ''] = args
  const restored = await restore(context, options, file)
  const { header, identity } = restored
  context.output.result(
    {
      did: header.did,
      name: identity?.name ?? header.name,
      home: context.home,
      link_key: identity?.link_key ?? null,
      replaced_link_key: header.link_key,
      counter: header.counter,
      created_at: header.created_at,
      files: restored.files,
      content_bytes: restored.content,
      safety: restored.safety,
      passphrase: identity?.passphrase ?? null,
      still_sealed: restored.still_sealed,
      newer: restored.newer,
    },
    (palette) => describe(restored, palette),
    header.did ?? undefined,
  )
  tell(context, restored)
  return undefined
}

async function restore(context: CommandContext, options: Options, file: string): Promise<RestoredHome> {
  const newPassphrase = newPassphraseOf(options)
  const opened = await openFile(context, file)
  const bar = createProgressBar({ clock: systemClock, label: 'restore', ...(context.json || context.quiet ? {} : { terminal: context.terminal }) })
  let then: Secret | undefined
  try {
    using keys = await openingKeys(context, options, { passphrase: opened.passphrase, own: false })
    return await restoreBackup({
      directory: context.home,
      source: opened.source,
      identities: keys.identities,
      ...(keys.phrase === undefined ? {} : { phrase: keys.phrase }),
      async passphrase() {
        bar.end()
        then = await passphraseOfThen(context, options, newPassphrase !== undefined && keys.phrase !== undefined)
        return then
      },
      ...(newPassphrase === undefined ? {} : { newPassphrase }),
      force: options.flag('force'),
      allowRollback: options.flag('allow-rollback'),
      environment: { ...context.env },
      clock: systemClock,
      random: systemRandom,
      progress: (done, total) => bar.update({ done, total, before: 0 }),
      signal: context.signal,
    })
  } finally {
    bar.end()
    then?.wipe()
    if (newPassphrase !== undefined && newPassphrase !== 'none') newPassphrase.wipe()
    await opened.close()
  }
}

function newPassphraseOf(options: Options): Secret | 'none' | undefined {
  const file = options.text('new-passphrase-file')
  if (!options.flag('no-passphrase')) return file === undefined ? undefined : readPassphraseFile(file)
  if (file === undefined) return 'none'
  throw new KithError('USAGE', '--no-passphrase and --new-passphrase-file exclude each other.', { next: 'kith restore --help' })
}

/** File, environment, else a question; an empty answer is that nobody knows it. */
async function passphraseOfThen({ cwd, env, terminal, signal }: CommandContext, options: Options, phraseWillDo: boolean): Promise<Secret | undefined> {
  const file = options.text('passphrase-file')
  if (file !== undefined) return readPassphraseFile(resolve(cwd, file))
  const given = takeEnvironmentPassphrase({ ...env })
  if (given !== undefined || !terminal.interactive) return given
  const question = phraseWillDo ? 'Passphrase that the node had then (Enter: unknown, the phrase will do): ' : 'Passphrase that the node had then: '
  return await terminal.askSecret(question, signal)
}

function describe({ header, identity, files, content, safety }: RestoredHome, palette: Palette): string[] {
  const what = identity === null ? 'a home without identity' : `${palette.strong(harmless(identity.name))}  ${identity.did}`
  return [
    `${palette.good('restored')}  ${what}`,
    palette.quiet(`as of ${header.created_at}: ${files} files, ${bytes(content)}`),
    ...(safety === null ? [] : [palette.quiet(`what was here before: ${harmless(safety)}`)]),
  ]
}

function tell({ output, command }: CommandContext, { header, identity, still_sealed: sealed, newer }: RestoredHome): void {
  if (newer !== null) output.note(`A newer backup, of ${new Date(newer).toISOString()}, is known: what happened since then is not here.`)
  for (const name of sealed) output.note(`${harmless(name)} opens with the passphrase of then alone.`)
  if (identity === null) return
  output.note('This machine has new link keys; peers find it by the DID when it calls them.')
  if (header.link_key !== null)
    output.note(`The machine of the backup had the link key ${header.link_key}. When it is lost: ${command(`kith id device revoke ${header.link_key}`)}`)
  output.note(`It uses the identity and does not change its keys. To let it, once it reaches a peer: ${command('kith id rotation take')}`)
  output.note(`next: ${command('kith up')}`)
}
