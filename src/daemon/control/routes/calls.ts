import { z } from 'zod'
import { json, lines, type RoutesOf } from '../route.ts'
import type { CallItem, CallResult, CallsApi } from './calls-api.ts'

const path = z.string().min(1).max(700)
const DAY_MS = 86_400_000
const call = z.object({
  path,
  input: z.unknown().optional(),
  deadline_ms: z.number().positive().max(DAY_MS).optional(),
  last_event_id: z.string().min(1).max(128).optional(),
})

export const callsRoutes: RoutesOf<CallsApi> = {
  'POST /v1/call': json(call, async ({ calls }, given, { signal }) => resultOf(await calls.call(given.path, given.input, optionsOf(given, signal)))),
  'POST /v1/call/stream': lines(call, async function* ({ calls }, given, { signal }): AsyncGenerator<CallItem> {
    for await (const { value, id } of calls.stream(given.path, given.input, optionsOf(given, signal))) yield { ...resultOf(value), id: id ?? null }
  }),
  'GET /v1/operations': json(z.object({ peer: z.string().min(1).max(200).optional() }), async ({ calls }, { peer }, { signal }) => ({
    operations: await calls.operations(peer, { signal }),
  })),
  'GET /v1/operations/schema': json(z.object({ path }), async ({ calls }, given, { signal }) => await calls.describe(given.path, { signal })),
  'GET /v1/workers': json(z.object({}), ({ calls, mesh }) => ({
    workers: calls.workers().map(({ linkKey: _linkKey, sinceMs, ...worker }) => ({
      ...worker,
      name: mesh.book.get(worker.did)?.name ?? null,
      since: new Date(sinceMs).toISOString(),
    })),
    heads: calls.heads().map((head) => ({ ...head, name: mesh.book.get(head.did)?.name ?? null })),
  })),
}

function optionsOf(given: z.infer<typeof call>, signal: AbortSignal) {
  return {
    signal,
    ...(given.deadline_ms === undefined ? {} : { deadlineMs: given.deadline_ms }),
    ...(given.last_event_id === undefined ? {} : { lastEventId: given.last_event_id }),
  }
}

/** Bytes have no JSON. */
function resultOf(value: unknown): CallResult {
  return value instanceof Uint8Array ? { value: null, bytes: Buffer.from(value).toString('base64') } : { value: value ?? null }
}
