import { z } from 'zod'
import { type Section, setting } from '../setting.ts'
import { duration, showDuration, whole } from '../values.ts'

/** The process: its end and its log. */
export interface ProcessSettings {
  readonly 'shutdown.drain': number
  readonly 'log.level': 'debug' | 'info' | 'warn' | 'error'
  readonly 'log.max_bytes': number
  readonly 'log.keep': number
}

export const PROCESS: Section<ProcessSettings> = {
  'shutdown.drain': setting({
    schema: duration(0, 600_000),
    fallback: 5_000,
    dynamic: true,
    about: 'How long streams in use may go on when the node stops.',
    show: showDuration,
  }),
  'log.level': setting({
    schema: z.enum(['debug', 'info', 'warn', 'error'], 'expected debug, info, warn or error'),
    fallback: 'info',
    dynamic: true,
    about: 'Least important log lines that are kept.',
  }),
  'log.max_bytes': setting({
    schema: whole(65_536, 1_073_741_824),
    fallback: 5_242_880,
    dynamic: false,
    about: 'Size at which the log file is set aside for a new one.',
  }),
  'log.keep': setting({
    schema: whole(0, 100),
    fallback: 3,
    dynamic: false,
    about: 'How many set-aside log files are kept.',
  }),
}
