import { systemClock } from '../../../core/clock.ts'
import { KithError } from '../../../core/errors.ts'
import { systemRandom } from '../../../core/random.ts'
import type { Secret } from '../../../core/secret.ts'
import { importIdentity } from '../../../daemon/identity/transfer.ts'
import { openHome } from '../../../identity/home.ts'
import { exportPassphraseOf, MAX_EXPORT_BYTES, openExport } from '../../../identity/identity-export.ts'
import { wipeSeeds } from '../../../identity/keys.ts'
import { hasIdentity } from '../../../identity/keystore.ts'
import type { IdentityContent } from '../../../identity/keystore-codec.ts'
import { readPassphraseFile } from '../../../identity/passphrase.ts'
import { readFileUpTo } from '../../../identity/private-file.ts'
import { phraseToSeed } from '../../../vault/bip39.ts'
import type { CommandContext } from '../../context.ts'
import type { Options } from '../../options.ts'
import type { CommandHandler } from '../../spec.ts'
import { harmless } from '../../style.ts'
import { newPassphrase, readPhrase, WITHOUT_PASSPHRASE } from '../init/handler.ts'

export const run: CommandHandler = async (context, { args, options }) => {
  const path = args[0] ?? ''
  const content = await open(context, options, path)
  let passphrase: Secret | undefined
  let owned = true
  try {
    await using home = await openHome(context.home)
    if (await hasIdentity(home)) await mayReplace(context, options)
    passphrase = await newPassphrase(context, options)
    const name = options.text('name')
    owned = false
    const { summary, safetyCopy } = await importIdentity({
      home,
      content,
      mayRotate: options.flag('rotation'),
      clock: systemClock,
      random: systemRandom,
      environment: { ...context.env },
      ...(passphrase === undefined ? {} : { passphrase, present: passphrase }),
      ...(name === undefined ? {} : { name }),
    })
    const result = { did: summary.did, name: summary.name, home: context.home, may_rotate: options.flag('rotation'), safety_copy: safetyCopy ?? null }
    context.output.result(
      result,
      (palette) => [
        `${palette.good('imported')}  ${palette.strong(harmless(summary.name))}  ${summary.did}`,
        ...(safetyCopy === undefined ? [] : [palette.quiet(`what was here before: ${safetyCopy}`)]),
      ],
      summary.did,
    )
    if (passphrase === undefined) context.output.note(WITHOUT_PASSPHRASE)
    if (!result.may_rotate) context.output.note(`another machine changes the identity's keys; to do it here:\n  ${context.command('kith id rotation take')}`)
  } finally {
    passphrase?.wipe()
    if (owned) wipe(content)
  }
  return undefined
}

/** The file's passphrase is tested before anything here is looked at. */
async function open(context: CommandContext, options: Options, path: string): Promise<IdentityContent> {
  const sealed = await readFileUpTo(path, MAX_EXPORT_BYTES)
  const passphrase = await filePassphrase(context, options)
  try {
    return await openExport(sealed, passphrase)
  } finally {
    passphrase.wipe()
  }
}

async function filePassphrase(context: CommandContext, options: Options): Promise<Secret> {
  const file = options.text('file-passphrase-file')
  if (options.flag('with-phrase')) {
    if (file !== undefined) throw new KithError('USAGE', '--with-phrase and --file-passphrase-file exclude each other.', { next: 'kith id import --help' })
    const phrase = await readPhrase(context)
    const seed = phraseToSeed(phrase)
    phrase.wipe()
    try {
      return exportPassphraseOf(seed)
    } finally {
      seed.wipe()
    }
  }
  if (file !== undefined) return readPassphraseFile(file)
  const answer = context.terminal.interactive ? await context.terminal.askSecret('Passphrase of the file: ', context.signal) : undefined
  if (answer !== undefined) return answer
  throw new KithError('PASSPHRASE_REQUIRED', 'The passphrase the file was exported with is needed.', {
    next: 'kith id import FILE --file-passphrase-file FILE (or --with-phrase)',
  })
}

async function mayReplace({ terminal, yes, signal }: CommandContext, options: Options): Promise<void> {
  if (options.flag('replace')) return
  const question = 'There are key files here. Copy them aside and replace them?'
  if (!yes && terminal.interactive && (await terminal.confirm(question, false, signal))) return
  throw new KithError('IDENTITY_EXISTS', undefined, { next: 'kith id import FILE --replace (or another home: --home DIR)' })
}

function wipe({ seeds, next, phrase }: IdentityContent): void {
  wipeSeeds(seeds)
  wipeSeeds(next)
  phrase?.wipe()
}
