import { shellWord } from '../../home.ts'
import type { CommandHandler } from '../../spec.ts'
import { plainRule, ruleLines } from './rules.ts'

/** Refused by policy, as everywhere. */
const DENIED_EXIT = 4

export const list: CommandHandler = async ({ daemon, output }) => {
  const result = await (await daemon()).call('GET /v1/policy', {})
  output.result(
    result,
    (palette, columns) =>
      result.rules.length === 0
        ? palette.quiet('no rules: forward, file, call, offer and mailbox are denied to everyone, topics follow their own access')
        : ruleLines(result.rules, palette, columns),
    result.rules.map(plainRule).join('\n') || undefined,
  )
  return undefined
}

export const test: CommandHandler = async ({ daemon, output, command }, { args, options }) => {
  const [peer = '', action = '', target] = args
  const [via, also] = [options.text('via'), options.list('also')]
  const about = { ...(target === undefined ? {} : { target }), ...(via === undefined ? {} : { via }), ...(also.length === 0 ? {} : { also }) }
  const result = await (await daemon()).call('POST /v1/policy/test', { peer, action, ...about })
  const next = command(result.next.replaceAll(result.did, shellWord(peer)))
  output.result(
    { ...result, next },
    (palette) => [
      `${result.allowed ? palette.good('allowed') : palette.bad('denied')}  by ${result.rule}`,
      palette.quiet(`${result.next.startsWith('kith policy') ? 'for example' : 'to change it'}: ${next}`),
    ],
    result.allowed ? 'allowed' : 'denied',
  )
  return result.allowed ? 0 : DENIED_EXIT
}
