import { toHex } from '../bytes.ts'
import type { Clock } from '../clock.ts'
import type { Random } from '../random.ts'
import { loggable } from './loggable.ts'

/** Spans of work, in the terms of OpenTelemetry, so that an exporter is a function over `SpanRecord`. */
export interface Tracer {
  /** `name` is a constant of the source; what varies goes into attributes. */
  start(name: string, options?: { readonly parent?: Span; readonly attributes?: Attributes }): Span
}

export type Attributes = Readonly<Record<string, unknown>>

export interface Span {
  /** 32 and 16 hexadecimal digits (W3C Trace Context); empty for the silent tracer. */
  readonly traceId: string
  readonly spanId: string
  set(attributes: Attributes): void
  /** Ends the span, as failed when there is an error. Later calls do nothing. */
  end(error?: unknown): void
}

export interface SpanRecord {
  readonly name: string
  readonly traceId: string
  readonly spanId: string
  readonly parentId: string | undefined
  /** Wall time in ms since the epoch, and the duration in ms of monotonic time. */
  readonly startedAt: number
  readonly durationMs: number
  readonly attributes: Attributes
  /** What `loggable` leaves of the error. */
  readonly error: unknown
}

const silentSpan: Span = { traceId: '', spanId: '', set: () => undefined, end: () => undefined }
export const silentTracer: Tracer = { start: () => silentSpan }

export interface TracerOptions {
  readonly clock: Clock
  readonly random: Random
  /** Gets every span when it ends. Must not throw. */
  readonly onEnd: (span: SpanRecord) => void
}

/** Attributes pass the same filter as log fields: neither secrets nor bytes get into a trace. */
export function createTracer(options: TracerOptions): Tracer {
  const { clock, random, onEnd } = options
  return {
    start(name, { parent, attributes = {} } = {}) {
      const traceId = parent === undefined || parent.traceId === '' ? toHex(random.bytes(16)) : parent.traceId
      const spanId = toHex(random.bytes(8))
      const parentId = parent === undefined || parent.spanId === '' ? undefined : parent.spanId
      const startedAt = clock.now()
      const start = clock.monotonic()
      let collected: Attributes = attributes
      let ended = false
      return {
        traceId,
        spanId,
        set(more) {
          collected = { ...collected, ...more }
        },
        end(error) {
          if (ended) return
          ended = true
          const filtered = loggable(collected) as Attributes
          onEnd({ name, traceId, spanId, parentId, startedAt, durationMs: clock.monotonic() - start, attributes: filtered, error: loggable(error) })
        },
      }
    },
  }
}
