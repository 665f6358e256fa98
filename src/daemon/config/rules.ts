import { z } from 'zod'
import { isKithError } from '../../core/errors.ts'
import { RESERVED_NAMES } from '../../mesh/policy.ts'
import { parseRule, type RuleText, readRule, ruleText } from '../../mesh/policy-rules.ts'
import type { Guard } from '../../mesh/policy-target.ts'

/** What the owner's commands add at once is bounded by the mesh; a file that a person wrote has fewer. */
const MAX_CONFIGURED = 500
const GUARD: Guard = { reservedName: (name) => RESERVED_NAMES.includes(name), ownPort: () => false }

/** The setting `policy.rules`: whole or not at all, and a rule that could never match is an error. */
export const rulesSchema: z.ZodType<readonly RuleText[]> = z
  .array(z.string('expected a rule such as "allow known forward db.lan:5432"'), 'expected a list of rules such as ["allow known forward db.lan:5432"]')
  .max(MAX_CONFIGURED, `expected at most ${MAX_CONFIGURED} rules`)
  .transform((lines, context) =>
    lines.flatMap((line, index) => {
      try {
        return ruleText(parseRule(readRule(line), GUARD))
      } catch (error) {
        if (!(error instanceof TypeError || isKithError(error, 'DID_INVALID'))) throw error
        const sentence = error instanceof TypeError ? error.message : 'a principal is a DID, a class, *, ssh:SHA256:..., key:NAME, scope:NAME or ssh-user:NAME'
        context.addIssue({ code: 'custom', path: [String(index + 1)], message: sentence })
        return []
      }
    }),
  )
