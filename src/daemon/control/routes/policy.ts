import { z } from 'zod'
import type { NodeContext } from '../../context.ts'
import { callersWords, json, type RoutesOf } from '../route.ts'
import type { PolicyApi, RuleListed } from './policy-api.ts'

const rule = z.object({ peer: z.string().min(1).max(200), action: z.string().min(1).max(64), target: z.string().max(300).optional() })

export const policyRoutes: RoutesOf<PolicyApi> = {
  'GET /v1/policy': json(z.object({}), (context) => ({ rules: rules(context) })),
  'POST /v1/policy/allow': json(rule, async (context, { peer, action, target }) => {
    await callersWords(() => context.mesh.policy.allow(peer, action, target))
    return { rules: rules(context) }
  }),
  'POST /v1/policy/deny': json(rule, async (context, { peer, action, target }) => {
    await callersWords(() => context.mesh.policy.deny(peer, action, target))
    return { rules: rules(context) }
  }),
  'POST /v1/policy/test': json(rule, ({ mesh }, { peer, action, target }) =>
    callersWords(() => {
      const { allowed, rule: text, next } = mesh.policy.test(peer, action, target)
      return { did: mesh.book.resolve(peer), allowed, rule: text, next }
    }),
  ),
}

function rules({ mesh }: NodeContext): readonly RuleListed[] {
  const names = new Map<string, string>(mesh.book.list().map(({ did, name }) => [did, name]))
  return mesh.policy
    .list()
    .map(({ effect, principal, action, target }) => ({ effect, principal, name: names.get(principal) ?? null, action, target: target ?? null }))
}
