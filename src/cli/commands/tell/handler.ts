import { KithError } from '../../../core/errors.ts'
import type { ToldShown } from '../../../daemon/control/routes/mail-api.ts'
import type { CommandContext } from '../../context.ts'
import { ago, bytes } from '../../format.ts'
import type { CommandHandler } from '../../spec.ts'
import { type Cell, harmlessLine, type Palette, table } from '../../style.ts'

const MAX_DATA_BYTES = 1_048_576

export const run: CommandHandler = async (context, { args, options }) => {
  if (options.flag('list')) return await list(context)
  const [peer, word = '-'] = args
  if (peer === undefined) throw new KithError('USAGE', '<peer> is missing: DID, a prefix of it, or name.', { next: 'kith tell --help' })
  const { daemon, output, terminal, signal } = context
  const client = await daemon()
  if (word === '-' && terminal.interactive) output.note('Type the message, then Enter.')
  const data = word === '-' ? await terminal.readInput(MAX_DATA_BYTES, signal) : Buffer.from(word)
  if (word === '-' && data.length === 0) throw new KithError('USAGE', 'There is nothing to tell: standard input is empty.', { next: 'kith tell --help' })
  const life = options.durationMs('life')
  const wait = options.durationMs('wait')
  const told = await client.call('POST /v1/tell', {
    peer,
    data: data.toString('base64'),
    ...(life === undefined ? {} : { life_ms: life }),
    ...(wait === undefined ? {} : { wait_ms: wait }),
  })
  const banned = told.state === 'waiting' && (await keptBack(context, told.id)) === 'BANNED'
  output.result(told, (palette) => sentence(told, palette, banned), told.state)
  if (banned) output.note(`next: ${context.command(`kith why ${peer}`)}`)
  return undefined
}

/** What kept a message back so far. */
async function keptBack({ daemon }: CommandContext, id: string): Promise<string | null> {
  const { messages } = await (await daemon()).call('GET /v1/outbox', {})
  return messages.find((message) => message.id === id)?.last_error ?? null
}

async function list({ daemon, output }: CommandContext): Promise<undefined> {
  const result = await (await daemon()).call('GET /v1/outbox', {})
  output.result(
    result,
    (palette, columns) => {
      if (result.messages.length === 0) return palette.quiet('nothing told yet')
      return table(
        result.messages.map((message) => [
          { text: message.id.slice(0, 8), style: palette.quiet },
          stateCell(message, palette),
          { text: message.name ?? message.peer, style: palette.strong },
          bytes(message.bytes),
          ago(message.time, Date.now()),
          { text: message.last_error ?? '', style: palette.quiet },
        ]),
        { columns, spare: [5, 0] },
      )
    },
    result.messages.map(({ id, state }) => `${id} ${state}`).join('\n') || undefined,
  )
  return undefined
}

function sentence(told: ToldShown, palette: Palette, banned: boolean): string {
  const name = palette.strong(harmlessLine(told.name ?? told.peer))
  const sealed = told.forward_secret ? '' : palette.warn('  sealed to a long-lived key: the peer has no fresh one yet')
  switch (told.state) {
    case 'delivered':
      return `${palette.good('delivered')}  to ${name}${sealed}`
    case 'deposited':
      return `${palette.good('deposited')}  a mailbox host of ${name} keeps it${sealed}`
    case 'expired':
      return `${palette.bad('expired')}  it never reached ${name}`
    default:
      return `${palette.warn('waiting')}  ${banned ? `a ban stands between this node and ${name}` : `${name} is away`}; this node goes on trying${sealed}`
  }
}

function stateCell({ state }: ToldShown, palette: Palette): Cell {
  const style = state === 'delivered' || state === 'deposited' ? palette.good : state === 'expired' ? palette.bad : palette.warn
  return { text: state, style }
}
