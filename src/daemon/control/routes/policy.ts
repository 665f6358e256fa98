import { z } from 'zod'
import { looksForeign } from '../../../access/principal.ts'
import { POLICY_TRANSPORTS, parseMoment, type RuleConditions } from '../../../mesh/policy-conditions.ts'
import type { NodeContext } from '../../context.ts'
import { callersWords, json, type RoutesOf } from '../route.ts'
import type { PolicyApi, RuleListed } from './policy-api.ts'

const subject = { peer: z.string().min(1).max(200), action: z.string().min(1).max(64), target: z.string().max(300).optional() }
const doors = z.enum(POLICY_TRANSPORTS, `expected doors out of ${POLICY_TRANSPORTS.join(', ')}`)
const rule = z.object({
  ...subject,
  via: z.array(doors).max(POLICY_TRANSPORTS.length).optional(),
  between: z.string().max(11).optional(),
  until: z.string().max(40).optional(),
})
const trial = z.object({ ...subject, via: doors.optional(), also: z.array(z.string().max(100)).max(32).optional() })

export const policyRoutes: RoutesOf<PolicyApi> = {
  'GET /v1/policy': json(z.object({}), (context) => ({ rules: rules(context) })),
  'POST /v1/policy/allow': json(rule, async (context, input) => {
    await callersWords(() => context.mesh.policy.allow(input.peer, input.action, input.target, conditions(input)))
    return { rules: rules(context) }
  }),
  'POST /v1/policy/deny': json(rule, async (context, input) => {
    await callersWords(() => context.mesh.policy.deny(input.peer, input.action, input.target, conditions(input)))
    return { rules: rules(context) }
  }),
  'POST /v1/policy/test': json(trial, ({ mesh }, { peer, action, target, via, also }) =>
    callersWords(() => {
      const {
        allowed,
        rule: text,
        next,
      } = mesh.policy.test(peer, action, target, {
        ...(via === undefined ? {} : { transport: via }),
        ...(also === undefined ? {} : { also }),
      })
      return { did: looksForeign(peer) ? peer : mesh.book.resolve(peer), allowed, rule: text, next }
    }),
  ),
}

function conditions({ via, between, until }: z.infer<typeof rule>): RuleConditions {
  return {
    ...(via === undefined ? {} : { via }),
    ...(between === undefined ? {} : { between }),
    ...(until === undefined ? {} : { until: parseMoment(until) }),
  }
}

function rules({ mesh }: NodeContext): readonly RuleListed[] {
  const names = new Map<string, string>(mesh.book.list().map(({ did, name }) => [did, name]))
  return mesh.policy.list().map(({ effect, principal, action, target = null, via = null, between = null, until }) => {
    const name = names.get(principal) ?? null
    return { effect, principal, name, action, target, via, between, until: until === undefined ? null : new Date(until).toISOString() }
  })
}
