import type { Why } from '../../../daemon/control/routes/peers-api.ts'
import { shellWord } from '../../home.ts'
import type { CommandHandler } from '../../spec.ts'
import { type Palette, table } from '../../style.ts'

/** What names a rule decides by it; everything else is a reason of its own. */
function because(rule: string | null): string {
  return rule !== null && !/^(allow|deny|default)\b/.test(rule) ? rule : `by ${rule ?? 'no rule'}`
}

/** Said where the owner can do something about it. */
function keys(chain: Why['chain'], palette: Palette): string[] {
  if (chain === null || chain.status === 'anchored') return []
  const meaning = {
    'first-seen': 'only it showed its keys: at most known',
    stale: 'a machine of it has not heard of its newest keys',
    forked: 'two histories of its keys contradict each other',
  }
  return [`${(chain.status === 'forked' ? palette.bad : palette.warn)(chain.status)}  ${meaning[chain.status]}`]
}

export const run: CommandHandler = async ({ daemon, output, command }, { args }) => {
  const [peer = '', action, target] = args
  const why = await (await daemon()).call('POST /v1/why', { peer, ...(action === undefined ? {} : { action }), ...(target === undefined ? {} : { target }) })
  const next = why.next === null ? null : command(why.next.replaceAll(why.did, shellWord(peer)))
  const human = (palette: Palette, columns: number): string[] => {
    const after = next === null ? [] : [palette.quiet(`${why.decision === null ? 'next' : 'to change it'}: ${next}`)]
    if (why.decision !== null) {
      return [`${why.decision === 'allowed' ? palette.good('allowed') : palette.bad('denied')}  ${because(why.rule)}`, ...after]
    }
    const path =
      why.path === null
        ? palette.warn('not connected')
        : `${palette.good('connected')}  ${why.path.address}${why.path.direct ? '' : ` via ${why.path.via ?? 'a relay'}`}`
    const rows = table(
      why.candidates.map(({ url, result, reason }) => [
        { text: url },
        { text: result, style: result === 'active' || result === 'ok' ? palette.good : palette.warn },
        { text: reason, style: palette.quiet },
      ]),
      { columns: columns - 2 },
    )
    return [path, ...keys(why.chain, palette), ...rows.map((row) => `  ${row}`), ...after]
  }
  output.result({ ...why, next }, human, why.decision ?? why.path?.address)
  return undefined
}
