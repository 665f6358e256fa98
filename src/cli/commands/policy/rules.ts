import type { RuleListed } from '../../../daemon/control/routes/policy-api.ts'
import type { CommandContext } from '../../context.ts'
import { type Palette, table } from '../../style.ts'

/** `allow` and `deny`: the same words, another route. */
export async function changeRule(
  context: CommandContext,
  route: 'POST /v1/policy/allow' | 'POST /v1/policy/deny',
  args: readonly string[],
): Promise<undefined> {
  const [peer = '', action = '', target] = args
  const result = await (await context.daemon()).call(route, { peer, action, ...(target === undefined ? {} : { target }) })
  context.output.result(result, (palette, columns) => ruleLines(result.rules, palette, columns))
  return undefined
}

/** The DID behind a name is left out where there is no room. */
export function ruleLines(rules: readonly RuleListed[], palette: Palette, columns: number): string[] {
  return table(
    rules.map(({ effect, principal, name, action, target }, index) => [
      { text: String(index + 1), style: palette.quiet },
      { text: effect, style: effect === 'allow' ? palette.good : palette.bad },
      { text: name ?? principal, style: palette.strong },
      action,
      target ?? '',
      { text: name === null ? '' : principal, style: palette.quiet },
    ]),
    { columns, spare: [5] },
  )
}
