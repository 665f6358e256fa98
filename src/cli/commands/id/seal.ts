import { resolve } from 'node:path'
import { KithError } from '../../../core/errors.ts'
import { loadSummary, saveSummary } from '../../../daemon/identity/describe.ts'
import { changeSeal, type SealRequest, type SealView, viewSeal } from '../../../daemon/identity/seal.ts'
import { parsePcrs } from '../../../identity/hardware/tpm.ts'
import { findPassphrase, homeView } from '../../passphrase.ts'
import type { CommandHandler } from '../../spec.ts'

const WHERE = ['tpm', 'keyring', 'off'] as const

/** Changes no key file, so it also works beside the running node. */
export const run: CommandHandler = async (context, { options }) => {
  const wanted = WHERE.filter((flag) => options.flag(flag))
  const pcr = options.text('pcr')
  const [where, other] = wanted
  if (other !== undefined) throw new KithError('USAGE', `--${wanted.join(' and --')} exclude each other.`, { next: 'kith id seal --help' })
  if (pcr !== undefined && where !== 'tpm') throw new KithError('USAGE', '--pcr goes with --tpm.', { next: 'kith id seal --help' })
  const home = await homeView(context.home)
  if (home === undefined) throw new KithError('IDENTITY_MISSING', undefined, { next: 'kith init' })
  const environment = { ...context.env }
  if (where === undefined) {
    tell(context.output, await viewSeal(home, environment), await didOf(context.home))
    return undefined
  }
  const recovery = options.text('recovery-file')
  const request: SealRequest = {
    where,
    environment,
    pcrs: pcr === undefined ? undefined : parsePcrs(pcr),
    recoveryFile: recovery === undefined ? undefined : resolve(context.cwd, recovery),
  }
  const passphrase = await findPassphrase(context, options)
  try {
    const view = await changeSeal(home, passphrase, request)
    const summary = await loadSummary(context.home)
    if (summary !== undefined) await saveSummary(context.home, { ...summary, passphrase: view.sealed ?? 'passphrase' })
    tell(context.output, view, summary?.did ?? null)
    if (view.random && recovery === undefined) {
      context.output.note(
        'Nobody knows this passphrase. If the seal breaks, only the recovery phrase brings the identity back: kith id seal with --recovery-file keeps a copy.',
      )
    }
  } finally {
    passphrase.secret.wipe()
  }
  return undefined
}

async function didOf(home: string): Promise<string | null> {
  return (await loadSummary(home))?.did ?? null
}

function tell(output: Parameters<CommandHandler>[0]['output'], view: SealView, did: string | null): void {
  output.result({ did, ...view }, (palette) => {
    if (view.sealed === null) return 'nothing is sealed: the passphrase comes from you, a file, or the state directory'
    const where = view.sealed === 'keyring' ? 'in the keyring of your session' : `by the TPM, for PCR ${view.pcrs?.join(', ') ?? ''} as they are now`
    return `${palette.good('sealed')}  ${where}`
  })
}
