import { z } from 'zod'
import { json, type RoutesOf } from '../route.ts'
import type { ToolsApi } from './tools-api.ts'

const as = z.object({ key: z.string().min(1).max(4_096).optional() })
const of = as.extend({ path: z.string().min(1).max(700) })

export const toolsRoutes: RoutesOf<ToolsApi> = {
  'POST /v1/tools/list': json(as, async ({ gateway }, { key }) => ({ operations: await gateway.callee.list(await gateway.callerOf(key)) })),
  'POST /v1/tools/describe': json(of, async ({ gateway }, { key, path }) => ({
    operation: (await gateway.callee.describe(path, await gateway.callerOf(key))) ?? null,
  })),
  'POST /v1/tools/call': json(of.extend({ input: z.unknown().optional() }), async ({ gateway }, { key, path, input }, { signal }) => ({
    value: (await gateway.callee.call({ caller: await gateway.callerOf(key), path, input, signal })) ?? null,
  })),
}
