import type { Clock } from '../../core/clock.ts'
import type { LinkMemory, MultiplexOptions } from '../types.ts'
import * as limits from './limits.ts'

/** Options of one connection, filled in and checked. */
export interface Settings {
  readonly clock: Clock
  readonly maxInboundStreams: number
  readonly maxOutboundStreams: number
  readonly windowBytes: number
  readonly linkWindowBytes: number
  readonly mayGrow: (() => boolean) | undefined
  readonly keepAliveMs: number
  readonly pollUs: (() => number) | undefined
  readonly memory: LinkMemory | undefined
  readonly onRefused: ((number: number) => void) | undefined
}

/** @throws TypeError for a value out of range: the caller's mistake. */
export function settings(clock: Clock, options: MultiplexOptions): Settings {
  return {
    clock,
    maxInboundStreams: within('maxInboundStreams', options.maxInboundStreams, limits.DEFAULT_STREAMS, 0, limits.MAX_STREAMS),
    maxOutboundStreams: within('maxOutboundStreams', options.maxOutboundStreams, limits.DEFAULT_STREAMS, 0, limits.MAX_STREAMS),
    windowBytes: within('windowBytes', options.windowBytes, limits.DEFAULT_WINDOW_BYTES, limits.INITIAL_WINDOW_BYTES, limits.MAX_WINDOW_BYTES),
    linkWindowBytes: within('linkWindowBytes', options.linkWindowBytes, limits.DEFAULT_LINK_WINDOW_BYTES, 0, Number.MAX_SAFE_INTEGER),
    mayGrow: options.mayGrow,
    keepAliveMs: within('keepAliveMs', options.keepAliveMs, limits.KEEP_ALIVE_MS, 0, 0x7fff_ffff),
    pollUs: options.pollUs,
    memory: options.memory,
    onRefused: options.onRefused,
  }
}

function within(name: string, value: number | undefined, fallback: number, min: number, max: number): number {
  if (value === undefined) return fallback
  if (!Number.isInteger(value) || value < min || value > max) throw new TypeError(`${name} is an integer from ${min} to ${max}`)
  return value
}
