import { z } from 'zod'
import { METRICS_CONTENT_TYPE } from '../../../core/observe/metrics.ts'
import type { ReloadReport } from '../../config/holder.ts'
import { type EventRecord, eventRecord, follow } from '../../events.ts'
import { type LogRecord, lastOf } from '../../logs/store.ts'
import type { ServiceStatus, Trouble } from '../../service.ts'
import type { NodeStatus } from '../../status.ts'
import { type Json, json, type Lines, lines, type Nothing, type RoutesOf } from '../route.ts'

const nothing = z.object({})
const LEVELS = ['debug', 'info', 'warn', 'error'] as const

export interface NodeApi {
  'GET /v1/status': Json<Nothing, NodeStatus>
  'GET /v1/health': Json<Nothing, Health>
  'POST /v1/stop': Json<Nothing, { readonly stopped: true; readonly pid: number }>
  /** `revoked`: how many of those who came in would not any more; they go on unless `disconnect_revoked`. */
  'POST /v1/config/reload': Json<{ readonly disconnect_revoked?: boolean }, ReloadReport & { readonly revoked: number; readonly disconnected: boolean }>
  /** The newest `count` lines (default 200), then those to come when following. */
  'GET /v1/logs': Lines<{ readonly count?: number; readonly follow?: boolean; readonly level?: Level }, LogRecord>
  /** The Prometheus text exposition. */
  'GET /v1/metrics': Json<Nothing, { readonly content_type: string; readonly text: string }>
  'GET /v1/events': Lines<Nothing, EventRecord>
}

export type Level = (typeof LEVELS)[number]

export interface Health {
  /** The process answers. */
  readonly live: true
  /** Every service runs. */
  readonly ready: boolean
  readonly services: readonly ServiceStatus[]
  readonly degraded: readonly Trouble[]
}

/** Log records in one answer. */
const MAX_RECENT = 2_000

/** The node itself: status, health, logs, events, configuration, end. */
export const nodeRoutes: RoutesOf<NodeApi> = {
  'GET /v1/status': json(nothing, (context) => context.status()),
  'GET /v1/health': json(
    nothing,
    ({ supervisor }): Health => ({
      live: true,
      ready: supervisor.services().every(({ state }) => state === 'running'),
      services: supervisor.services(),
      degraded: supervisor.troubles(),
    }),
  ),
  'POST /v1/stop': json(nothing, async (context) => {
    await context.stop()
    return { stopped: true as const, pid: process.pid }
  }),
  'POST /v1/config/reload': json(z.object({ disconnect_revoked: z.boolean().optional() }), async ({ config, access }, { disconnect_revoked = false }) => {
    const report = await config.reload()
    const revoked = await access.recheck({ disconnect: disconnect_revoked })
    return { ...report, revoked, disconnected: disconnect_revoked && revoked > 0 }
  }),
  'GET /v1/logs': lines(
    z.object({
      count: z.coerce.number().int().min(0).max(MAX_RECENT).default(200),
      follow: z.enum(['true', 'false']).default('false'),
      level: z.enum(LEVELS).default('debug'),
    }),
    async function* ({ logs }, input, { signal }): AsyncGenerator<LogRecord> {
      const wanted = (record: LogRecord): boolean => LEVELS.indexOf(record.level as Level) >= LEVELS.indexOf(input.level)
      yield* lastOf(logs.recent(MAX_RECENT).filter(wanted), input.count)
      if (input.follow !== 'true') return
      for await (const record of follow<LogRecord>((listener) => logs.follow(listener), signal)) if (wanted(record)) yield record
    },
  ),
  'GET /v1/metrics': json(nothing, ({ metrics }) => ({ content_type: METRICS_CONTENT_TYPE, text: metrics.render() })),
  'GET /v1/events': lines(nothing, async function* ({ events, clock }, _input, { signal }) {
    for await (const event of events.stream(signal)) yield eventRecord(event, clock.now())
  }),
}
