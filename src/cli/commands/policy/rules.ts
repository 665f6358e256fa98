import type { RuleListed } from '../../../daemon/control/routes/policy-api.ts'
import type { CommandContext } from '../../context.ts'
import type { CommandInput } from '../../spec.ts'
import { type Palette, table } from '../../style.ts'

/** `allow` and `deny`: the same words, another route. */
export async function changeRule(
  context: CommandContext,
  route: 'POST /v1/policy/allow' | 'POST /v1/policy/deny',
  { args, options }: CommandInput,
): Promise<undefined> {
  const [peer = '', action = '', target] = args
  const [via, between, until] = [options.list('via'), options.text('between'), options.text('until')]
  const conditions = { ...(via.length === 0 ? {} : { via }), ...(between === undefined ? {} : { between }), ...(until === undefined ? {} : { until }) }
  const result = await (await context.daemon()).call(route, { peer, action, ...(target === undefined ? {} : { target }), ...conditions })
  context.output.result(result, (palette, columns) => ruleLines(result.rules, palette, columns))
  return undefined
}

/** The DID behind a name is left out where there is no room. */
export function ruleLines(rules: readonly RuleListed[], palette: Palette, columns: number): string[] {
  return table(
    rules.map(({ effect, principal, name, action, target, via, between, until }, index) => [
      { text: String(index + 1), style: palette.quiet },
      { text: effect, style: effect === 'allow' ? palette.good : palette.bad },
      { text: name ?? principal, style: palette.strong },
      action,
      target ?? '',
      [...(via ?? []), between ?? '', until === null ? '' : `until ${until.slice(0, 16)}Z`].filter((word) => word !== '').join(' '),
      { text: name === null ? '' : principal, style: palette.quiet },
    ]),
    { columns, spare: [6] },
  )
}

/** As it would be typed behind `kith`. */
export function plainRule({ effect, principal, action, target, via, between, until }: RuleListed): string {
  const conditions = [...(via ?? []).map((door) => `--via ${door}`), between === null ? '' : `--between ${between}`, until === null ? '' : `--until ${until}`]
  return [effect, principal, action, target ?? '', ...conditions].filter((word) => word !== '').join(' ')
}
