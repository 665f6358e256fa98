import type { PersonShown, RecoveryPolicyShown, RecoverySetup, RecoveryShown } from '../../../daemon/control/routes/recovery-api.ts'
import { duration, localTime } from '../../format.ts'
import { type Cell, harmlessLine, type Palette, table } from '../../style.ts'

export function nameOf({ did, name }: PersonShown): string {
  return name === null ? did : harmlessLine(name)
}

function names(people: readonly PersonShown[]): string {
  return people.length === 0 ? 'nobody yet' : people.map(nameOf).join(', ')
}

function policyText({ threshold, override, delay_s, trustees }: RecoveryPolicyShown): string {
  const outranks = override === 0 ? '' : `; ${override} outrank a rotation`
  return `${threshold} of ${trustees.length}: ${names(trustees)}; ${duration(delay_s * 1_000)} to object${outranks}`
}

/** Who may recover this identity, in words. */
export function setupLines({ in_force, later }: RecoverySetup, palette: Palette): string[] {
  if (in_force === null && later === null) return [palette.warn('Nobody could give this identity back: no trustees are named.')]
  const change = later === null ? [] : [`from ${localTime(later.from)}: ${later.policy === null ? 'nobody' : policyText(later.policy)}`]
  return [`trustees  ${in_force === null ? 'nobody' : policyText(in_force)}`, ...change]
}

function stageCell({ stage, attested_by, policy, effective_at }: RecoveryShown, palette: Palette): Cell {
  if (stage === 'collecting') return { text: `${attested_by.length} of ${policy.threshold} attested`, style: palette.warn }
  if (stage === 'waiting') return { text: `takes effect here on ${effective_at === null ? 'its day' : localTime(effective_at)}`, style: palette.warn }
  if (stage === 'effective') return { text: 'in effect', style: palette.good }
  if (stage === 'contested') return { text: 'contradicted: a person must decide', style: palette.bad }
  return { text: stage === 'cancelled' ? 'ended by its trustees' : 'ended by the owner’s own keys', style: palette.quiet }
}

export function recoveryLines(one: RecoveryShown, palette: Palette, columns: number): string[] {
  const row = (name: string, value: string | Cell): (string | Cell)[] => [{ text: name, style: palette.quiet }, value]
  return table(
    [
      row('recovery', { text: one.id, style: palette.strong }),
      row('of', one.of.name === null ? one.of.did : `${harmlessLine(one.of.name)}, ${one.of.did}`),
      row('here', one.role),
      row('state', stageCell(one, palette)),
      row('asked', localTime(one.requested_at)),
      row('needs', policyText(one.policy)),
      row('attested', names(one.attested_by)),
      ...(one.cancelled_by.length === 0 ? [] : [row('against', names(one.cancelled_by))]),
      ...(one.words === null ? [] : [row('words', { text: one.words, style: palette.strong })]),
    ],
    { columns },
  )
}

/** What a trustee reads before it is asked anything. */
export function trusteeScreen(one: RecoveryShown, palette: Palette): string[] {
  const who = one.of.name === null ? 'Somebody' : `Somebody who says to be ${harmlessLine(one.of.name)}`
  const rest = Math.max(0, one.policy.threshold - one.attested_by.length)
  const after =
    rest <= 1
      ? `With your word it is enough: after ${duration(one.policy.delay_s * 1_000)}, unless the owner objects,`
      : `Once ${rest} trustees, you among them, have attested, and after ${duration(one.policy.delay_s * 1_000)},`
  return [
    palette.strong(`${who} asks for new keys of`),
    `  ${one.of.did}`,
    `${after} whoever has the new keys IS that identity everywhere, with all that is granted to it, and the old keys are refused.`,
    'Do not go by a message, a mail or a picture. Call the person on a number you know from before, or meet: a voice you know.',
    'Ask for the four words on their screen. Only when they read exactly these, attest:',
    palette.strong(`  ${one.words ?? ''}`),
  ]
}
