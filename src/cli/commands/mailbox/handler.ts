import type { MailboxShown } from '../../../daemon/control/routes/mail-api.ts'
import type { CommandContext } from '../../context.ts'
import { bytes } from '../../format.ts'
import type { CommandHandler } from '../../spec.ts'
import { type Cell, type Palette, table } from '../../style.ts'

export const show: CommandHandler = async (context) => print(context, await (await context.daemon()).call('GET /v1/mailbox', {}))

export const host: CommandHandler = async (context, { args: [peer = ''] }) => {
  const daemon = await context.daemon()
  print(context, await daemon.call('POST /v1/mailbox/host', { peer }))
  const { did } = await daemon.call('GET /v1/status', {})
  context.output.note(`next: on the other machine: kith mailbox use ${did}`)
  return undefined
}

export const unhost: CommandHandler = async (context, { args: [peer = ''] }) =>
  print(context, await (await context.daemon()).call('POST /v1/mailbox/unhost', { peer }))

export const use: CommandHandler = async (context, { args }) => {
  const daemon = await context.daemon()
  print(context, await daemon.call('POST /v1/mailbox/use', { peers: args }))
  if (args.length === 0) return undefined
  const { did } = await daemon.call('GET /v1/status', {})
  context.output.note(`They keep messages once they have agreed; on their machines: kith mailbox host ${did}`)
  return undefined
}

function print({ output }: CommandContext, result: MailboxShown): undefined {
  output.result(result, (palette, columns) => lines(result, palette, columns), result.hosts.map(({ did }) => did).join('\n') || undefined)
  return undefined
}

function lines({ hosts, hosting, kept, inbox, pending }: MailboxShown, palette: Palette, columns: number): string[] {
  const names = (peers: MailboxShown['hosts'], none: string): Cell =>
    peers.length === 0 ? { text: none, style: palette.quiet } : { text: peers.map(({ did, name }) => name ?? did).join(' ') }
  const row = (name: string, value: Cell | string): (Cell | string)[] => [{ text: name, style: palette.quiet }, value]
  return table(
    [
      row('kept by', names(hosts, 'nobody: what is sent while this node is away waits at the sender')),
      row('keeps for', names(hosting, 'nobody')),
      ...(hosting.length === 0 ? [] : [row('kept here', `${counted(kept.messages)}, ${bytes(kept.bytes)}`)]),
      row('inbox', `${counted(inbox.messages)}, ${inbox.unread} unread`),
      row('on the way', `${pending} of this node`),
    ],
    { columns },
  )
}

function counted(messages: number): string {
  return `${messages} ${messages === 1 ? 'message' : 'messages'}`
}
