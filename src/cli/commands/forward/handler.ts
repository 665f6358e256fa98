import type { CommandHandler } from '../../spec.ts'
import { harmless } from '../../style.ts'
import { parsePeerTarget } from './target.ts'

export const run: CommandHandler = async ({ daemon, output, command }, { args, options }) => {
  const { peer, target } = parsePeerTarget(args[0] ?? '')
  const local = options.text('local')
  const tunnel = await (await daemon()).call('POST /v1/forwards', {
    peer,
    target,
    allow_public_bind: options.flag('allow-public-bind'),
    ...(local === undefined ? {} : { local }),
  })
  output.result(tunnel, (palette) => `${palette.strong(tunnel.local)}  ->  ${harmless(tunnel.name ?? tunnel.peer)} ${tunnel.target}`, tunnel.local)
  const port = target.slice(target.lastIndexOf(':'))
  if (local === undefined && !tunnel.local.endsWith(port)) output.note(`Port ${port.slice(1)} is taken on this machine, so this is another one.`)
  output.note(`To end it: ${command(`kith tunnels close ${tunnel.id}`)}`)
  return undefined
}
