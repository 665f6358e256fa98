import { KithError } from '../../../core/errors.ts'
import type { ChainDecided } from '../../../daemon/control/routes/chains-api.ts'
import type { CommandHandler } from '../../spec.ts'
import { harmless, type Palette } from '../../style.ts'

export const anchor: CommandHandler = async ({ daemon, output, terminal, yes, signal }, { args, options }) => {
  const [peer = ''] = args
  const head = options.text('head')
  const client = await daemon()
  if (head === undefined && !yes && terminal.interactive) {
    const asked = `Have you compared the last entry of ${peer} (kith peers --json) with what its owner reads out (kith id chain)?`
    if (!(await terminal.confirm(asked, false, signal))) throw new KithError('INTERRUPTED')
  }
  const result = await client.call('POST /v1/peers/anchor', { peer, ...(head === undefined ? {} : { head }) })
  output.result(result, (palette) => said(result, palette, 'vouched for: its class counts now'), result.chain.status)
  return undefined
}

export const repin: CommandHandler = async ({ daemon, output }, { args, options }) => {
  const [peer = ''] = args
  const head = options.text('head')
  if (head === undefined) throw new KithError('USAGE', 'Say with --head which history is the true one.', { next: 'kith id chain (on the machine you trust)' })
  const result = await (await daemon()).call('POST /v1/peers/repin', { peer, head })
  output.result(result, (palette) => said(result, palette, 'follows the history you chose'), result.chain.status)
  return undefined
}

function said({ did, name, chain }: ChainDecided, palette: Palette, what: string): string[] {
  return [`${palette.strong(harmless(name ?? did))} ${what}`, palette.quiet(`entry ${chain.index}, ${chain.head.slice(0, 16)}`)]
}
