import { KithError } from '../../../core/errors.ts'
import type { BookEntry } from '../../../daemon/control/routes/peers-api.ts'
import { ago } from '../../format.ts'
import type { CommandHandler } from '../../spec.ts'
import { type Cell, harmless, type Palette, table } from '../../style.ts'

export const list: CommandHandler = async ({ daemon, output, command }) => {
  const result = await (await daemon()).call('GET /v1/peers', {})
  const human = (palette: Palette, columns: number): string | string[] => {
    if (result.peers.length === 0) return palette.quiet('no peers yet')
    return table(
      [
        ['name', 'class', 'keys', 'did', 'since', 'addresses'].map((text) => ({ text, style: palette.quiet })),
        ...result.peers.map((peer) => [
          { text: peer.name, style: palette.strong },
          peer.pending_class === null ? peer.class : `${peer.class} (${peer.pending_class} pending)`,
          keysCell(peer.chain, palette),
          peer.did,
          ago(peer.since, Date.now()),
          { text: peer.addresses.join(' '), style: palette.quiet },
        ]),
      ],
      { columns, spare: [4] },
    )
  }
  output.result(result, human, result.peers.map(({ name }) => name).join('\n') || undefined)
  if (result.peers.length === 0) output.note(`next: ${command('kith invite')}`)
  return undefined
}

/** How far its keys can be relied on. */
function keysCell(chain: BookEntry['chain'], palette: Palette): Cell {
  if (chain === null) return { text: 'not met', style: palette.quiet }
  return { text: chain.status, style: chain.status === 'anchored' ? palette.good : chain.status === 'forked' ? palette.bad : palette.warn }
}

export const add: CommandHandler = async ({ daemon, output }, { args, options }) => {
  const [did = '', ...urls] = args
  const name = options.text('name')
  const peer = await (await daemon()).call('POST /v1/peers/add', { did, urls, ...(name === undefined ? {} : { name }) })
  output.result(peer, (palette) => `added ${palette.strong(harmless(peer.name))}  ${palette.quiet(peer.did)}`, peer.did)
  return undefined
}

export const rename: CommandHandler = async ({ daemon, output }, { args }) => {
  const [peer = '', name = ''] = args
  const entry = await (await daemon()).call('POST /v1/peers/rename', { peer, name })
  output.result(entry, (palette) => `${palette.quiet(entry.did)} is called ${palette.strong(harmless(entry.name))} now`, entry.name)
  return undefined
}

export const forget: CommandHandler = async ({ daemon, output, terminal, yes, signal }, { args }) => {
  const [peer = ''] = args
  const client = await daemon()
  if (!yes && terminal.interactive && !(await terminal.confirm(`Forget ${peer}, its class and its rules?`, true, signal))) throw new KithError('INTERRUPTED')
  const result = await client.call('POST /v1/peers/forget', { peer })
  output.result(result, () => `forgot ${result.did}`, result.did)
  return undefined
}
