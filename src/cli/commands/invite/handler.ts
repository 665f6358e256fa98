import { KithError } from '../../../core/errors.ts'
import type { PeerClass } from '../../../mesh/types.ts'
import type { CommandContext } from '../../context.ts'
import { duration } from '../../format.ts'
import type { Options } from '../../options.ts'
import { qrLines } from '../../qr.ts'
import type { CommandHandler } from '../../spec.ts'
import { type Palette, table } from '../../style.ts'

const CLASSES: readonly string[] = ['known', 'partner', 'federated'] satisfies PeerClass[]

export const run: CommandHandler = async (context, { options }) => {
  const revoked = options.text('revoke')
  if (revoked !== undefined) return await revoke(context, revoked)
  return options.flag('list') ? await list(context) : await make(context, options)
}

async function make({ daemon, output, terminal, command }: CommandContext, options: Options): Promise<undefined> {
  const held = options.text('class')
  if (held !== undefined && !CLASSES.includes(held)) throw new KithError('USAGE', `--class takes ${CLASSES.join(', ')}.`, { next: 'kith invite --help' })
  const expires = options.durationMs('expires')
  const uses = options.count('uses')
  const invite = await (await daemon()).call('POST /v1/invites', {
    trust_ticket: options.flag('trust-ticket'),
    ...(held === undefined ? {} : { class: held as PeerClass }),
    ...(expires === undefined ? {} : { expires_ms: expires }),
    ...(uses === undefined ? {} : { uses }),
  })
  // The ticket alone goes to standard output, so that it can be piped on; what is for reading goes beside it.
  output.result(
    invite,
    (palette) => [...(terminal.visible ? [...qrLines(invite.ticket, terminal.columns), ''] : []), palette.strong(invite.ticket)],
    invite.ticket,
  )
  const life = duration(Date.parse(invite.expires_at) - Date.now())
  output.note(
    [
      '',
      'On the other machine: kith join -   (paste the ticket, then Enter)',
      `Usable ${invite.uses === 1 ? 'once' : `${invite.uses} times`}, for ${life}. To end it: ${command(`kith invite --revoke ${invite.id}`)}`,
    ].join('\n'),
  )
  return undefined
}

async function list({ daemon, output }: CommandContext): Promise<undefined> {
  const result = await (await daemon()).call('GET /v1/invites', {})
  const human = (palette: Palette): string | string[] => {
    if (result.invites.length === 0) return palette.quiet('no tickets outstanding')
    return table([
      ['id', 'class', 'uses left', 'expires'].map((text) => ({ text, style: palette.quiet })),
      ...result.invites.map((invite) => [invite.id, invite.class, String(invite.uses_left), `in ${duration(Date.parse(invite.expires_at) - Date.now())}`]),
    ])
  }
  output.result(result, human, result.invites.map(({ id }) => id).join('\n') || undefined)
  return undefined
}

async function revoke({ daemon, output }: CommandContext, id: string): Promise<undefined> {
  const result = await (await daemon()).call('POST /v1/invites/revoke', { id })
  output.result(result, () => `revoked ${result.id}`)
  return undefined
}
