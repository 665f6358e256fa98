import type { CommandHandler } from '../../spec.ts'
import { harmless } from '../../style.ts'

const MAX_TICKET_BYTES = 4_096

export const run: CommandHandler = async ({ daemon, output, terminal, signal, command }, { args, options }) => {
  const [word = ''] = args
  const client = await daemon()
  if (word === '-' && terminal.interactive) output.note('Paste the ticket, then Enter.')
  const ticket = word === '-' ? (await terminal.readInput(MAX_TICKET_BYTES, signal)).toString('utf8').trim() : word
  const name = options.text('name')
  const peer = await client.call('POST /v1/join', { ticket, ...(name === undefined ? {} : { name }) })
  output.result(
    peer,
    (palette) => [
      `${palette.good('paired')} with ${palette.strong(harmless(peer.name))}  ${palette.quiet(peer.did)}`,
      `words: ${palette.strong(peer.words)}   ${palette.quiet('the other machine must show the same')}`,
      ...(peer.pending === null
        ? []
        : [palette.quiet(`it is known now, and ${peer.pending} once you have compared the words: ${command(`kith confirm ${peer.name}`)}`)]),
    ],
    peer.did,
  )
  output.note(`next: ${command('kith status')}`)
  return undefined
}
