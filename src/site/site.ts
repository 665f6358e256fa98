import type { Clock } from '../core/clock.ts'
import type { SiteHandler } from '../transport/front/types.ts'
import { converse, type SiteTimes } from './conversation.ts'
import { DEFAULT_PAGE } from './default-page.ts'
import { folderPages, singlePage } from './folder.ts'

/** As Debian 12 has it. */
const SERVER = 'nginx/1.22.1'
const TIMES: SiteTimes = { headMs: 60_000, idleMs: 75_000, sendMs: 60_000, lingerMs: 5_000 }

export interface SiteOptions {
  readonly clock: Clock
  /** Folder of the pages. Absent: one plain page. */
  readonly folder?: string
  /** What the header `Server` and the pages of errors say. Default `nginx/1.22.1`. */
  readonly server?: string
  readonly times?: Partial<SiteTimes>
  /** Told of each answer's status: for counters. */
  readonly onAnswer?: (status: number) => void
}

/** A site of static pages that answers as nginx does, to be hung on a front door. */
export function createSite(options: SiteOptions): SiteHandler {
  const { clock } = options
  const parts = {
    pages: options.folder === undefined ? singlePage(DEFAULT_PAGE, clock.now()) : folderPages(options.folder),
    clock,
    server: options.server ?? SERVER,
    times: { ...TIMES, ...options.times },
    ...(options.onAnswer === undefined ? {} : { onAnswer: options.onAnswer }),
  }
  return (stream, arrival) => void converse(stream, { ...arrival, misplaced: !arrival.encrypted }, parts)
}
