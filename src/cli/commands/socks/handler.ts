import type { CommandHandler } from '../../spec.ts'
import { harmless } from '../../style.ts'

export const run: CommandHandler = async ({ daemon, output, command }, { args, options }) => {
  const local = options.text('local')
  const save = options.text('save')
  const proxy = await (await daemon()).call('POST /v1/socks', {
    peer: args[0] ?? '',
    allow_public_bind: options.flag('allow-public-bind'),
    ...(local === undefined ? {} : { local }),
    ...(save === undefined ? {} : { save }),
  })
  const who = harmless(proxy.name ?? proxy.peer)
  output.result(
    proxy,
    (palette) => [
      `${palette.strong(proxy.local)}  ->  ${who}  (SOCKS5 and HTTP CONNECT)`,
      ...(proxy.password === null ? [] : [`${palette.warn('password')}  ${proxy.password}  (told this once)`]),
    ],
    proxy.local,
  )
  if (!proxy.local.startsWith('unix:'))
    output.note(`For example: curl --proxy socks5h://${proxy.password === null ? '' : `x:${proxy.password}@`}${proxy.local} http://localhost:8080/`)
  output.note(
    save === undefined
      ? `To end it: ${command(`kith tunnels close ${proxy.id}`)}`
      : `It opens by itself when the node starts. To end that: ${command(`kith tunnels close ${proxy.id} --forget`)}`,
  )
  return undefined
}
